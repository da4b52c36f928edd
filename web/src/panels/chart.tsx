/** Candles with volume. */

import {
  CandlestickSeries,
  createChart,
  HistogramSeries,
  type IChartApi,
  type ISeriesApi,
  TickMarkType,
  type Time,
  type UTCTimestamp,
} from "lightweight-charts";
import { createEffect, For, onCleanup, onMount } from "solid-js";

import { approximate } from "../core/decimal.ts";
import type { MarketRules } from "../core/order.ts";
import type { Candle, CandlesView } from "../state/market.ts";
import { when } from "../state/time.ts";

const INTERVALS = ["1m", "5m", "15m", "1h", "4h", "1d"];
const UP = "#2ebd85";
const DOWN = "#f6616f";

interface Props {
  readonly rules: MarketRules;
  readonly candles: CandlesView;
  readonly interval: string;
  readonly choose: (interval: string) => void;
}

export function ChartPanel(props: Props) {
  let place!: HTMLDivElement;
  onMount(() => {
    const chart = createChart(place, options());
    const prices = chart.addSeries(CandlestickSeries, {
      upColor: UP,
      downColor: DOWN,
      wickUpColor: UP,
      wickDownColor: DOWN,
      borderVisible: false,
    });
    const volumes = chart.addSeries(HistogramSeries, {
      priceScaleId: "",
      priceFormat: { type: "volume" },
      lastValueVisible: false,
      priceLineVisible: false,
    });
    prices.priceScale().applyOptions({ scaleMargins: { top: 0.08, bottom: 0.25 } });
    volumes.priceScale().applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    createEffect(() => {
      const minMove = approximate(props.rules.price.step);
      const digits = props.rules.priceDigits;
      const text = new Intl.NumberFormat("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
      prices.applyOptions({ priceFormat: { type: "custom", minMove, formatter: text.format } });
    });
    createEffect(() => show(chart, prices, volumes, props.candles));
    onCleanup(() => chart.remove());
  });
  return (
    <section class="panel chart" aria-label="Candles">
      <div class="title">
        <h2>{props.rules.symbol}</h2>
        <div class="choices" role="group" aria-label="Interval of a candle">
          <For each={INTERVALS}>
            {(interval) => (
              <button
                type="button"
                aria-pressed={props.interval === interval}
                onClick={() => props.choose(interval)}
              >
                {interval}
              </button>
            )}
          </For>
        </div>
      </div>
      <div class="canvas" ref={place} />
    </section>
  );
}

function show(
  chart: IChartApi,
  prices: ISeriesApi<"Candlestick">,
  volumes: ISeriesApi<"Histogram">,
  { list, whole }: CandlesView,
): void {
  const last = list.at(-1);
  if (whole) {
    prices.setData(list.map(pricePoint));
    volumes.setData(list.map(volumePoint));
    chart.timeScale().scrollToRealTime();
  } else if (last) {
    prices.update(pricePoint(last));
    volumes.update(volumePoint(last));
  }
}

function pricePoint({ time, open, high, low, close }: Candle) {
  return { time: time as UTCTimestamp, open, high, low, close };
}

function volumePoint({ time, open, close, volume }: Candle) {
  return { time: time as UTCTimestamp, value: volume, color: close < open ? `${DOWN}66` : `${UP}66` };
}

function options() {
  const line = { color: "#1c232d" };
  return {
    autoSize: true,
    layout: {
      background: { color: "transparent" },
      textColor: "#9aa5b4",
      fontFamily: getComputedStyle(document.body).fontFamily,
      attributionLogo: true,
    },
    grid: { vertLines: line, horzLines: line },
    rightPriceScale: { borderColor: "#252d38" },
    timeScale: { borderColor: "#252d38", timeVisible: true, rightOffset: 4, tickMarkFormatter: tickMark },
    localization: { timeFormatter: (time: Time) => when(Number(time) * 1_000) },
  };
}

/** Marks of the time axis in local time. */
function tickMark(time: Time, type: TickMarkType): string {
  const date = new Date(Number(time) * 1_000);
  switch (type) {
    case TickMarkType.Year:
      return date.toLocaleDateString("en-GB", { year: "numeric" });
    case TickMarkType.Month:
      return date.toLocaleDateString("en-GB", { month: "short" });
    case TickMarkType.DayOfMonth:
      return date.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
    default:
      return date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  }
}
