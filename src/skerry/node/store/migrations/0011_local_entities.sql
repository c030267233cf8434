-- Entities whose rows stay on this node: `local` is the declaration of such a one, null for those that are shared. Their
-- rows are in `shared_row` with the revision 0 and are never in an outbox.
ALTER TABLE shared_entity ADD COLUMN local TEXT;
