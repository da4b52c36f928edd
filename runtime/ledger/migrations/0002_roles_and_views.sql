-- Who may do what. The owner, who runs migrations, is used for nothing else; services sign in as one of these roles, with
-- a token of AWS instead of a password. Roles belong to the whole server, so another database may have made them already.
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['ledger_writer', 'ledger_reader', 'regulator'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I LOGIN', role);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_iam') THEN -- Aurora's mark for signing in with a token
            EXECUTE format('GRANT rds_iam TO %I', role);
        END IF;
    END LOOP;
END
$$;

-- The writer adds to the ledger and never takes back: no role here may delete, and what was posted cannot be changed.
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO ledger_writer;
GRANT UPDATE ON positions, markets, accounts, orders, balances TO ledger_writer;
REVOKE INSERT ON schema_migrations FROM ledger_writer;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO ledger_reader;
-- The same for tables to come. A new projection must grant its UPDATE itself.
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT ON TABLES TO ledger_writer;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO ledger_reader;

-- What happened in a given time, whichever account or market it was: rows are added in the order of time.
CREATE INDEX orders_by_creation ON orders USING brin (created_us);
CREATE INDEX postings_by_time ON postings USING brin (time_us);

-- What the regulator reads: everything that was done, and no other schema. It is named as its user, who finds these views
-- under their bare names. Names of accounts are ours, not customers'.
CREATE SCHEMA regulator;
GRANT USAGE ON SCHEMA regulator TO regulator;
CREATE VIEW regulator.accounts AS SELECT account, tier, opened_us FROM accounts WHERE account >= 1000;
CREATE VIEW regulator.orders AS
    SELECT order_id, account, market, side, order_type, time_in_force, price, lots, quote_amount, executed_lots,
           executed_quote, status, expiry, created_us, updated_us
    FROM orders;
CREATE VIEW regulator.trades AS
    SELECT market, trade_id, price, lots, buyer_is_maker, buy_order_id, sell_order_id, buyer, seller, buyer_fee,
           seller_fee, time_us, sequence
    FROM trades;
CREATE VIEW regulator.postings AS SELECT sequence, event, line, account, asset, amount, kind, time_us FROM postings;
CREATE VIEW regulator.transfers AS SELECT sequence, event, account, asset, amount, reference, time_us FROM transfers;
CREATE VIEW regulator.balances AS SELECT account, asset, free, held, sequence FROM balances;
CREATE VIEW regulator.markets AS SELECT market, base, quote, lot_units, quote_units FROM markets;
GRANT SELECT ON ALL TABLES IN SCHEMA regulator TO regulator;
