-- Candles of each minute, written with the trades they sum up. A month is a partition: it comes before its first trade,
-- and goes as a whole. Whatever is gone can be summed up from the trades again.
CREATE TABLE candles (
    market             integer NOT NULL,
    minute_us          bigint NOT NULL,
    open               bigint NOT NULL,
    high               bigint NOT NULL,
    low                bigint NOT NULL,
    close              bigint NOT NULL,
    volume             numeric NOT NULL,
    turnover           numeric NOT NULL,
    taker_buy_volume   numeric NOT NULL,
    taker_buy_turnover numeric NOT NULL,
    trades             bigint NOT NULL,
    first_id           bigint NOT NULL,
    last_id            bigint NOT NULL,
    PRIMARY KEY (market, minute_us)
) PARTITION BY RANGE (minute_us);
GRANT UPDATE ON candles TO ledger_writer;

-- The writer owns no table, so it asks for months by this function: the month of `at_us` and the next one. With a new
-- one, those go that began more than `kept` months before.
CREATE FUNCTION keep_candle_months(at_us bigint, kept integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET client_min_messages = warning
AS $$
DECLARE
    month timestamp := date_trunc('month', timestamp '1970-01-01' + at_us * interval '1 microsecond');
    partition text;
BEGIN
    IF kept NOT BETWEEN 6 AND 120 THEN
        RAISE EXCEPTION 'candles are kept for 6 to 120 months, not for %', kept;
    END IF;
    FOR ahead IN 0..1 LOOP
        partition := to_char(month + make_interval(months => ahead), '"candles_"YYYY_MM');
        CONTINUE WHEN to_regclass('public.' || partition) IS NOT NULL;
        EXECUTE format(
            'CREATE TABLE public.%I PARTITION OF public.candles FOR VALUES FROM (%s) TO (%s)',
            partition,
            extract(epoch FROM month + make_interval(months => ahead))::bigint * 1000000,
            extract(epoch FROM month + make_interval(months => ahead + 1))::bigint * 1000000
        );
        FOR partition IN
            SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
            WHERE inhparent = 'public.candles'::regclass
              AND relname < to_char(month - make_interval(months => kept), '"candles_"YYYY_MM')
        LOOP
            EXECUTE format('DROP TABLE public.%I', partition);
        END LOOP;
    END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION keep_candle_months FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keep_candle_months TO ledger_writer;

-- What was traded before: the last two years of it.
SELECT keep_candle_months(minute_us, 24) FROM (
    SELECT DISTINCT (extract(epoch FROM date_trunc('month', timestamp '1970-01-01' + time_us * interval '1 microsecond'))
                     * 1000000)::bigint AS minute_us
    FROM trades ORDER BY 1
) AS months;
INSERT INTO candles
SELECT market, time_us / 60000000 * 60000000,
       (array_agg(price ORDER BY trade_id))[1], max(price), min(price), (array_agg(price ORDER BY trade_id DESC))[1],
       sum(lots), sum(price::numeric * lots),
       coalesce(sum(lots) FILTER (WHERE NOT buyer_is_maker), 0),
       coalesce(sum(price::numeric * lots) FILTER (WHERE NOT buyer_is_maker), 0),
       count(*), min(trade_id), max(trade_id)
FROM trades
WHERE time_us >= (
    SELECT coalesce(
        extract(epoch FROM date_trunc('month', timestamp '1970-01-01' + max(time_us) * interval '1 microsecond')
                           - interval '23 months') * 1000000, 0)
    FROM trades
)
GROUP BY 1, 2;
