package edgedistill.glue

import org.json.JSONObject
import kotlin.math.abs
import kotlin.math.ln

private const val ROUNDING = 1e-9
private const val BY_RISK = "risk"

/** Which answers a larger model, the teacher, has to give instead: the decision table of the bundle. */
public class Router internal constructor(private val table: Table?) {
    /** How sure [prediction] is, from 0 to 1; without a table its highest probability. */
    public fun confidence(prediction: Prediction): Double {
        val probabilities = prediction.probabilities
        val measure = { name: String -> if (probabilities.size == 1) 1.0 else MEASURES.getValue(name)(probabilities) }
        return table?.risk?.sureness(prediction.features, measure) ?: measure(table?.by ?: "probability")
    }

    /** Whether the teacher has to answer instead of [prediction]; never without a table. */
    public fun asksTeacher(prediction: Prediction): Boolean =
        table != null && asks(prediction, table.threshold, table)

    /** How many golden rows of the table are decided in another way here. */
    internal fun wrongRows(): Int = table?.golden.orEmpty().count { row ->
        val prediction = Prediction(emptyList(), softmax(row.scores), row.features)
        val near = abs(confidence(prediction) - row.confidence) <= ROUNDING
        !near || asks(prediction, table!!.goldenThreshold, table) != row.teacher
    }

    private fun asks(prediction: Prediction, threshold: Double?, table: Table): Boolean {
        // What is no number is not sure, and not known to be harmless.
        val sure = threshold != null && confidence(prediction) > threshold
        val within = table.rules.all { rule ->
            val value = prediction.features[rule.of] ?: Double.NaN
            value <= rule.above && value >= rule.below
        }
        return !sure || !within || largest(prediction.probabilities) in table.always
    }

    internal class Table(
        val by: String,
        val always: List<Int>,
        val rules: List<Rule>,
        val risk: RiskModel?,
        val threshold: Double?,
        val goldenThreshold: Double,
        val golden: List<Row>,
    )

    /** The teacher is asked where a feature is above or below a number. */
    internal class Rule(val of: String, val above: Double, val below: Double)

    internal class Row(
        val scores: DoubleArray,
        val features: Map<String, Double>,
        val confidence: Double,
        val teacher: Boolean,
    )

    internal companion object {
        private val MEASURES: Map<String, (DoubleArray) -> Double> = mapOf(
            "probability" to { it.max() },
            "margin" to { all -> all.sortedDescending().let { it[0] - it[1] } },
            "entropy" to { all -> 1 + all.filter { it > 0 }.sumOf { it * ln(it) } / ln(all.size.toDouble()) },
        )

        /** What the manifest of [model] says of its artifact. [features] are what this package knows of requests. */
        fun of(model: Model, features: Set<String>): Router = reading {
            val entry = model.manifest.document.optJSONObject("router") ?: return Router(null)
            val by = entry.getString("by")
            val risk = if (by == BY_RISK) RiskModel.of(entry.getJSONObject("risk")) else null
            val measures = risk?.measures?.keys.orEmpty() + by
            if (!(MEASURES.keys + BY_RISK).containsAll(measures)) {
                throw ModelError.DamagedManifest("found router.by $by, expected ${MEASURES.keys + BY_RISK}")
            }
            val rules = entry.optJSONArray("when")?.map { all, i -> rule(all.getJSONObject(i)) }.orEmpty()
            val read = rules.map { it.of } + risk?.features?.keys.orEmpty()
            if (!features.containsAll(read)) {
                throw ModelError.DamagedManifest("found a router that reads $read, expected features among $features")
            }
            val thresholds = entry.getJSONObject("thresholds")
            val name = model.artifact.name
            if (!thresholds.has(name)) throw ModelError.DamagedManifest("has no threshold of $name in router")
            Router(
                Table(
                    by = by,
                    always = entry.getJSONArray("always").map { all, i -> all.getInt(i) },
                    rules = rules,
                    risk = risk,
                    threshold = if (thresholds.isNull(name)) null else thresholds.getDouble(name),
                    goldenThreshold = entry.getDouble("golden_threshold"),
                    golden = entry.getJSONArray("golden").map { all, i -> row(all.getJSONObject(i)) },
                ),
            )
        }

        private fun rule(entry: JSONObject): Rule {
            val end = { key: String, none: Double -> if (entry.isNull(key)) none else entry.getDouble(key) }
            val of = entry.getString("of")
            return Rule(of, end("above", Double.POSITIVE_INFINITY), end("below", Double.NEGATIVE_INFINITY))
        }

        private fun row(entry: JSONObject): Row {
            val outputs = entry.getJSONObject("outputs")
            val scores = outputs.getJSONArray(outputs.keys().next())
            return Row(
                DoubleArray(scores.length()) { scores.getDouble(it) },
                entry.optJSONObject("features")?.let { numbers(it) }.orEmpty(),
                entry.getDouble("confidence"),
                entry.getBoolean("teacher"),
            )
        }
    }
}
