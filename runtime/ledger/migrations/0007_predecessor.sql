-- Where the database of the predecessor is copied to, by a user who has nothing else and whom nobody here reads. It signs in
-- with a password, since DMS knows no tokens, and has none until an operator sets one.
DO $$
BEGIN
    CREATE ROLE importer LOGIN CONNECTION LIMIT 20;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL; -- another database of the server
END
$$;
CREATE SCHEMA predecessor;
GRANT USAGE, CREATE ON SCHEMA predecessor TO importer;
