-- The best bid and ask of each market, for each second in which they changed; a side without orders has 0. Nothing in
-- the ledger can tell them again.
CREATE TABLE quotes (
    market    integer NOT NULL,
    second_us bigint NOT NULL,
    bid       bigint NOT NULL,
    bid_lots  bigint NOT NULL,
    ask       bigint NOT NULL,
    ask_lots  bigint NOT NULL,
    PRIMARY KEY (market, second_us)
) PARTITION BY RANGE (second_us);
GRANT UPDATE ON quotes TO ledger_writer;
CREATE VIEW regulator.quotes AS SELECT market, second_us, bid, bid_lots, ask, ask_lots FROM quotes;
GRANT SELECT ON regulator.quotes TO regulator;

-- Candles and quotes have a partition for each month. The writer owns no table, so it asks for months by this function:
-- the month of `at_us` and the next one. Those that began more than `kept` months before go.
DROP FUNCTION keep_candle_months;
CREATE FUNCTION keep_price_months(at_us bigint, kept integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET client_min_messages = warning
AS $$
DECLARE
    month timestamp := date_trunc('month', timestamp '1970-01-01' + at_us * interval '1 microsecond');
    prices text;
    partition text;
BEGIN
    IF kept NOT BETWEEN 6 AND 120 THEN
        RAISE EXCEPTION 'prices are kept for 6 to 120 months, not for %', kept;
    END IF;
    FOREACH prices IN ARRAY ARRAY['candles', 'quotes'] LOOP
        FOR ahead IN 0..1 LOOP
            partition := prices || to_char(month + make_interval(months => ahead), '_YYYY_MM');
            CONTINUE WHEN to_regclass('public.' || partition) IS NOT NULL;
            EXECUTE format(
                'CREATE TABLE public.%I PARTITION OF public.%I FOR VALUES FROM (%s) TO (%s)',
                partition,
                prices,
                extract(epoch FROM month + make_interval(months => ahead))::bigint * 1000000,
                extract(epoch FROM month + make_interval(months => ahead + 1))::bigint * 1000000
            );
        END LOOP;
        FOR partition IN
            SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
            WHERE inhparent = ('public.' || prices)::regclass
              AND relname < prices || to_char(month - make_interval(months => kept), '_YYYY_MM')
        LOOP
            EXECUTE format('DROP TABLE public.%I', partition);
        END LOOP;
    END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION keep_price_months FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keep_price_months TO ledger_writer;

-- The writer asks when its position enters another month: the one it is in must be there.
SELECT keep_price_months(time_us, 120) FROM positions WHERE time_us > 0;
