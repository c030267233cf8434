"""Everything that the hub knows about people, built together: roles, API tokens, users, their sessions, and signing in."""

from __future__ import annotations

from dataclasses import dataclass

from skerry.hub.access_settings import AccessControlSection
from skerry.hub.store.hub_store import HubStore
from skerry.hub.trust.accounts import Accounts
from skerry.hub.trust.api_tokens import ApiTokens
from skerry.hub.trust.passwords import Passwords
from skerry.hub.trust.roles import Roles
from skerry.hub.trust.sessions import Lifetimes, Sessions
from skerry.hub.trust.sign_ins import SignIns
from skerry.kit.clock import Clock


@dataclass(frozen=True)
class People:
    """The people of one fleet, and what they may do."""

    roles: Roles
    api_tokens: ApiTokens
    accounts: Accounts
    sessions: Sessions
    sign_ins: SignIns
    lifetimes: Lifetimes

    @classmethod
    def of(
        cls, store: HubStore, clock: Clock, admin_token: str, control: AccessControlSection
    ) -> People:
        """As the settings want it. Raises InvalidInput for roles that cannot be."""
        roles = Roles(store, clock, control.roles())
        api_tokens = ApiTokens(store, clock, roles)
        accounts = Accounts(store, clock, roles, Passwords())
        seconds = control.authentication.token_expiry
        return cls(
            roles,
            api_tokens,
            accounts,
            Sessions(store, clock, admin_token, accounts, api_tokens),
            SignIns(store, clock, accounts),
            Lifetimes(seconds, seconds),
        )
