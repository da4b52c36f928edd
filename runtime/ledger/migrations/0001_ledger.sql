-- The ledger as a projection of the engine's event feed. Prices are in ticks, quantities in lots, amounts in the
-- smallest unit of their asset, times in microseconds since 1970 (UTC). Small codes are those of runtime/shared/messages.py.
-- Every amount stays below 2^62, so BIGINT holds it; sums are NUMERIC by themselves.

-- How far the projection has come. Written in the transaction that writes the rows: each command counts exactly once.
CREATE TABLE positions (
    group_name text PRIMARY KEY,
    sequence   bigint NOT NULL CHECK (sequence >= 0),
    time_us    bigint NOT NULL
);

-- What settling a trade needs to know of a market. Scales and assets of a known market never change.
CREATE TABLE markets (
    market      integer PRIMARY KEY,
    base        integer NOT NULL,
    quote       integer NOT NULL CHECK (quote <> base),
    lot_units   bigint NOT NULL CHECK (lot_units > 0),
    quote_units bigint NOT NULL CHECK (quote_units > 0)
);

CREATE TABLE accounts (
    account   bigint PRIMARY KEY,
    name      text NOT NULL UNIQUE,
    tier      integer NOT NULL,
    opened_us bigint NOT NULL
);

-- Each order as it stands now. Only columns outside every index change, and pages keep room for the new version of a
-- row, so an update touches no index.
CREATE TABLE orders (
    order_id        bigint PRIMARY KEY,
    client_order_id text NOT NULL,
    account         bigint NOT NULL,
    market          integer NOT NULL,
    side            smallint NOT NULL,
    order_type      smallint NOT NULL,
    time_in_force   smallint NOT NULL,
    price           bigint NOT NULL,
    lots            bigint NOT NULL,
    quote_amount    bigint NOT NULL,
    executed_lots   bigint NOT NULL,
    executed_quote  bigint NOT NULL,
    status          smallint NOT NULL,
    stp             smallint NOT NULL,
    expiry          smallint NOT NULL,
    created_us      bigint NOT NULL,
    updated_us      bigint NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX orders_of_account ON orders (account, market, order_id);
CREATE INDEX orders_by_time ON orders (account, market, created_us, order_id);
CREATE INDEX orders_by_client_id ON orders (account, client_order_id);

-- The public tape, and both sides' fills. Fees are in the asset received: base for the buyer, quote for the seller.
CREATE TABLE trades (
    market         integer NOT NULL,
    trade_id       bigint NOT NULL,
    price          bigint NOT NULL,
    lots           bigint NOT NULL,
    buyer_is_maker boolean NOT NULL,
    buy_order_id   bigint NOT NULL,
    sell_order_id  bigint NOT NULL,
    buyer          bigint NOT NULL,
    seller         bigint NOT NULL,
    buyer_fee      bigint NOT NULL,
    seller_fee     bigint NOT NULL,
    time_us        bigint NOT NULL,
    sequence       bigint NOT NULL,
    PRIMARY KEY (market, trade_id)
);
CREATE INDEX trades_by_time ON trades (market, time_us, trade_id);
CREATE INDEX trades_of_buyer ON trades (buyer, market, trade_id);
CREATE INDEX trades_of_seller ON trades (seller, market, trade_id);
CREATE INDEX trades_of_buy_order ON trades (buy_order_id);
CREATE INDEX trades_of_sell_order ON trades (sell_order_id);

-- Double entry: one entry per event that moves money, named by (sequence, event), one line per account and asset and
-- kind, summing to zero per asset. Lines are only ever added.
CREATE TABLE postings (
    sequence bigint NOT NULL,
    event    integer NOT NULL,
    line     smallint NOT NULL,
    account  bigint NOT NULL,
    asset    integer NOT NULL,
    amount   bigint NOT NULL CHECK (amount <> 0),
    kind     smallint NOT NULL CHECK (kind IN (1, 2, 3)), -- 1 trade, 2 fee, 3 transfer from or to outside
    time_us  bigint NOT NULL,
    PRIMARY KEY (sequence, event, line)
);
CREATE INDEX postings_of_account ON postings (account, asset, sequence);

-- Deposits and withdrawals; the reference that made each unique.
CREATE TABLE transfers (
    sequence  bigint NOT NULL,
    event     integer NOT NULL,
    account   bigint NOT NULL,
    asset     integer NOT NULL,
    amount    bigint NOT NULL,
    reference text NOT NULL UNIQUE,
    time_us   bigint NOT NULL,
    PRIMARY KEY (sequence, event)
);
CREATE INDEX transfers_of_account ON transfers (account, asset, sequence);

-- What the engine says each account holds; free + held always equals the sum of the account's postings.
-- Account 0 stands for the outside world: only there may an amount be negative.
CREATE TABLE balances (
    account  bigint NOT NULL,
    asset    integer NOT NULL,
    free     bigint NOT NULL CHECK (free >= 0 OR account = 0),
    held     bigint NOT NULL CHECK (held >= 0),
    sequence bigint NOT NULL,
    PRIMARY KEY (account, asset)
) WITH (fillfactor = 50);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP;
END
$$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON postings
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON trades
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transfers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Each statement must add whole entries: whoever writes, half an entry cannot be stored.
CREATE FUNCTION refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    SELECT sequence, event, asset, sum(amount) AS total INTO wrong
        FROM added GROUP BY sequence, event, asset HAVING sum(amount) <> 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entry (%, %) does not balance: asset % sums to %, not 0',
            wrong.sequence, wrong.event, wrong.asset, wrong.total;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER balanced AFTER INSERT ON postings REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_unbalanced();
