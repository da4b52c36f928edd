-- Orders with triggers, icebergs and lists, self-trades that were prevented, fees in either asset.

-- What only some orders have; null for the others. `working_us` is 0 while an order waits.
ALTER TABLE orders
    ADD COLUMN stop_price bigint,
    ADD COLUMN trailing_delta integer,
    ADD COLUMN iceberg_lots bigint,
    ADD COLUMN list_id bigint,
    ADD COLUMN working_us bigint,
    ADD COLUMN trailing_us bigint,
    ADD COLUMN prevented_lots bigint,
    ADD COLUMN prevented_match_id bigint,
    ADD COLUMN amends integer,
    ADD COLUMN hold_price bigint;
-- A list never changes its orders, so an update of one does not touch this index.
CREATE INDEX orders_of_list ON orders (list_id, order_id) WHERE list_id > 0;

-- Which asset each fee was paid in; -1: what that side received. A fee below 0 is a rebate.
ALTER TABLE trades
    ADD COLUMN buyer_fee_asset integer NOT NULL DEFAULT -1,
    ADD COLUMN seller_fee_asset integer NOT NULL DEFAULT -1;

CREATE TABLE order_lists (
    list_id        bigint PRIMARY KEY,
    account        bigint NOT NULL,
    market         integer NOT NULL,
    kind           smallint NOT NULL,
    client_list_id text NOT NULL,
    status         smallint NOT NULL,
    created_us     bigint NOT NULL,
    updated_us     bigint NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX order_lists_of_account ON order_lists (account, list_id);
CREATE INDEX order_lists_by_client_id ON order_lists (account, client_list_id);

-- Pairs of orders of one owner that met; `transferred` lots changed hands between accounts of one group.
CREATE TABLE prevented_matches (
    market         integer NOT NULL,
    match_id       bigint NOT NULL,
    taker_order_id bigint NOT NULL,
    maker_order_id bigint NOT NULL,
    taker          bigint NOT NULL,
    maker          bigint NOT NULL,
    trade_group    bigint NOT NULL,
    mode           smallint NOT NULL,
    price          bigint NOT NULL,
    taker_lots     bigint NOT NULL,
    maker_lots     bigint NOT NULL,
    transferred    bigint NOT NULL,
    time_us        bigint NOT NULL,
    PRIMARY KEY (market, match_id)
);
CREATE INDEX prevented_matches_of_taker ON prevented_matches (taker, market, match_id);
CREATE INDEX prevented_matches_of_maker ON prevented_matches (maker, market, match_id);

GRANT UPDATE ON order_lists TO ledger_writer;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON prevented_matches
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
