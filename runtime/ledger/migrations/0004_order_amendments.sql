-- What was changed of an order while it kept its place. Earlier changes are in the journal, not here.
CREATE TABLE order_amendments (
    order_id            bigint NOT NULL,
    sequence            bigint NOT NULL,
    event               integer NOT NULL,
    account             bigint NOT NULL,
    market              integer NOT NULL,
    old_client_order_id text NOT NULL,
    new_client_order_id text NOT NULL,
    old_lots            bigint NOT NULL,
    new_lots            bigint NOT NULL,
    time_us             bigint NOT NULL,
    PRIMARY KEY (order_id, sequence, event)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON order_amendments
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
