"""Records of a stress job as a device would write them, made by a model of its speed, sensors and memory."""

import numpy as np


def made(
    seconds=120, latency_ms=5.0, slower=lambda t: 1.0, noise=0.02, mode="continuous", rate_hz=None, instances=1,
    rss_mb=lambda t: 80.0, sensors=None, tail=(), seed=0, stop_s=None, skip=lambda index, t: False,
):  # fmt: skip
    """slower(t): factor of the latency t seconds after the start; rss_mb(t): memory; sensors: {name: (unit, function of t)}.

    stop_s: when the load ends early; skip(index, t): whether the batch of that instance at t is lost.
    """
    generator, t0 = np.random.default_rng(seed), 50_000_000_000
    until = stop_s or seconds
    asked = {"mode": mode, "seconds": seconds, "rate_hz": rate_hz, "burst_s": None, "pause_s": None}
    ready = {"pid": 7, "load_ns": 9, "first_inference_ns": 9, "rss_bytes": 1}
    records = [
        {"type": "start", "nonce": "n", "versions": {"fake": "1"}, "facts": {}},
        *({"type": "instance_ready", "index": index, **ready} for index in range(instances)),
        {"type": "stress_start", "t0_ns": t0, "instances": list(range(instances)), **asked},
    ]
    if sensors:
        available = [{"name": name, "unit": unit, "source": "made"} for name, (unit, _) in sensors.items()]
        records.append({"type": "sensors", "interval_s": 0.5, "available": available, "unavailable": []})
        for t in np.arange(0.1, until, 0.5):
            values = {name: float(of(t)) for name, (_, of) in sensors.items()}
            records.append({"type": "sensor", "t_ns": t0 + int(t * 1e9), "values": values})
    for index in range(instances):
        t = 0.001
        while t < until:
            n = max(1, round(0.5 / (latency_ms * slower(t) / 1e3))) if rate_hz is None else max(1, round(0.5 * rate_hz))
            took = latency_ms * 1e6 * slower(t) * np.exp(generator.normal(0, noise, n))
            waited = np.zeros(n) if rate_hz is None else np.maximum(0, 1e9 / rate_hz - np.append(0, took[:-1]))
            span = (took.sum() + waited.sum()) / 1e9
            if not skip(index, t):
                records.append(
                    {
                        "type": "instance",
                        "index": index,
                        "t0_ns": t0 + int(t * 1e9),
                        "durations_ns": took.astype(int).tolist(),
                        "waited_ns": None if rate_hz is None else [0, *waited[1:].astype(int).tolist()],
                        "late_ns": None if rate_hz is None else [50_000] * n,
                        "rss_bytes": int(rss_mb(t) * 1e6),
                        "checked": 1,
                        "changed": 0,
                    }
                )
            t += span
    end = {"type": "stress_end", "ended": "time", "t_ns": t0 + int(until * 1e9), "cpu_ns": int(until * 1e7), "unguarded": []}
    return [*records, *tail, end]
