-- Why the node itself ends an instance: the limit that it is over. Becomes the reason of its exit.
ALTER TABLE instance ADD COLUMN cause TEXT NOT NULL DEFAULT '';
