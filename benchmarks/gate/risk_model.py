"""Whether a model of the risk (`edgedistill route --by risk`) sends fewer answers than a plain confidence; docs/router.md has the table.

    python benchmarks/gate/risk_model.py [--repeats 500]

Each repeat draws val of a made student. It is right as often as it says; or less often where requests are longer, which it does not
see. The plain confidence has a threshold by all of val, the model by half of it after it was fitted to the other half. What the
thresholds keep is measured on 20,000 further answers.
"""

import argparse

import numpy as np

from edgedistill.gate import risk_model, selective

DELTA, LIMIT = 0.05, 0.05
FRESH = 20_000
SLOPES = {"says how sure it is": 0.0, "fails on long requests": 0.1}


def drawn(rng: np.random.Generator, n: int, slope: float) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    """Measures and features of n answers, and their losses. slope: how much the log-odds of an error rise with each token."""
    sure, tokens = rng.beta(8, 1, n), rng.integers(1, 51, n).astype(float)
    risk = 1 / (1 + sure / (1 - sure) * np.exp(-slope * (tokens - 25.5)))
    return {"probability": sure}, {"tokens": tokens}, (rng.random(n) < risk).astype(float)


def main() -> None:
    """Print two rows of a Markdown table for each student and size of val."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=500)
    repeats = parser.parse_args().repeats
    print("| student | val | by | AURC | above 5% | nothing kept | kept, mean |\n| --- | ---: | --- | ---: | ---: | ---: | ---: |")
    for title, slope in SLOPES.items():
        for n in (300, 1000, 3000):
            found: dict[str, list[tuple[float, bool, float]]] = {"probability": [], "risk": []}
            for repeat in range(repeats):
                rng = np.random.default_rng(repeat)
                (measures, features, losses), fresh = drawn(rng, n, slope), drawn(rng, FRESH, slope)
                first = risk_model.half(n)
                parts = [{name: values[first] for name, values in part.items()} for part in (measures, features)]
                model = risk_model.fit(parts[0], parts[1], losses[first])
                assert model is not None
                by_model = risk_model.confidence(model, measures, features)
                choices = {
                    "probability": (measures["probability"], losses, fresh[0]["probability"]),
                    "risk": (by_model[~first], losses[~first], risk_model.confidence(model, *fresh[:2])),
                }
                for by, (confidence, lost, later) in choices.items():
                    threshold = selective.threshold_of_risk(confidence, lost, LIMIT, DELTA)
                    kept = np.zeros(FRESH, bool) if threshold is None else later > threshold
                    exceeded = bool(kept.any() and fresh[2][kept].mean() > LIMIT)
                    found[by].append((selective.aurc(later, fresh[2]), exceeded, float(kept.mean())))
            for by, rows in found.items():
                area, above, kept = (np.array(column) for column in zip(*rows, strict=True))
                cells = f"{area.mean():.4f} | {above.mean():.1%} | {(kept == 0).mean():.0%} | {kept.mean():.0%}"
                print(f"| {title} | {n:,} | {by} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
