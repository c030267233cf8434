# PostgreSQL from Debian's packages, for deploy/compose.local.yaml: takes of the official image's settings those that
# deploy/compose.yaml gives.
FROM skerry-base
RUN apt-get update -q \
    && mkdir -p /etc/postgresql-common \
    && echo create_main_cluster=false >/etc/postgresql-common/createcluster.conf \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends postgresql-15 \
    && rm -rf /var/lib/apt/lists/* \
    && install --directory --owner=postgres --group=postgres --mode=0700 /var/lib/postgresql/data
ENV PATH=/usr/lib/postgresql/15/bin:$PATH PGDATA=/var/lib/postgresql/data LANG=C.UTF-8
COPY postgres-entry /usr/local/bin/postgres-entry
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
ENTRYPOINT ["postgres-entry"]
