package edgedistill.glue

import org.json.JSONObject
import kotlin.math.abs
import kotlin.math.ln

private const val ROUNDING = 1e-9

/** Which answers a larger model, the teacher, has to give instead: the decision table of the bundle. */
public class Router internal constructor(private val table: Table?) {
    /** How sure [prediction] is, from 0 to 1; without a table its highest probability. */
    public fun confidence(prediction: Prediction): Double = confidence(prediction.probabilities)

    /** Whether the teacher has to answer instead of [prediction]; never without a table. */
    public fun asksTeacher(prediction: Prediction): Boolean =
        table != null && asks(prediction.probabilities, table.threshold, table.always)

    /** How many golden rows of the table are decided in another way here. */
    internal fun wrongRows(): Int = table?.golden.orEmpty().count { row ->
        val probabilities = softmax(row.scores)
        val near = abs(confidence(probabilities) - row.confidence) <= ROUNDING
        !near || asks(probabilities, table!!.goldenThreshold, table.always) != row.teacher
    }

    private fun confidence(probabilities: DoubleArray): Double =
        if (probabilities.size == 1) 1.0 else MEASURES.getValue(table?.by ?: "probability")(probabilities)

    private fun asks(probabilities: DoubleArray, threshold: Double?, always: List<Int>): Boolean {
        // What is no number is not sure.
        val sure = threshold != null && confidence(probabilities) > threshold
        return !sure || largest(probabilities) in always
    }

    internal class Table(
        val by: String,
        val always: List<Int>,
        val threshold: Double?,
        val goldenThreshold: Double,
        val golden: List<Row>,
    )

    internal class Row(val scores: DoubleArray, val confidence: Double, val teacher: Boolean)

    internal companion object {
        private val MEASURES: Map<String, (DoubleArray) -> Double> = mapOf(
            "probability" to { it.max() },
            "margin" to { all -> all.sortedDescending().let { it[0] - it[1] } },
            "entropy" to { all -> 1 + all.filter { it > 0 }.sumOf { it * ln(it) } / ln(all.size.toDouble()) },
        )

        /** What the manifest of [model] says of its artifact. */
        fun of(model: Model): Router = reading {
            val entry = model.manifest.document.optJSONObject("router") ?: return Router(null)
            val by = entry.getString("by")
            if (by !in MEASURES) throw ModelError.DamagedManifest("found router.by $by, expected ${MEASURES.keys}")
            val thresholds = entry.getJSONObject("thresholds")
            val name = model.artifact.name
            if (!thresholds.has(name)) throw ModelError.DamagedManifest("has no threshold of $name in router")
            Router(
                Table(
                    by = by,
                    always = entry.getJSONArray("always").map { all, i -> all.getInt(i) },
                    threshold = if (thresholds.isNull(name)) null else thresholds.getDouble(name),
                    goldenThreshold = entry.getDouble("golden_threshold"),
                    golden = entry.getJSONArray("golden").map { all, i -> row(all.getJSONObject(i)) },
                ),
            )
        }

        private fun row(entry: JSONObject): Row {
            val outputs = entry.getJSONObject("outputs")
            val scores = outputs.getJSONArray(outputs.keys().next())
            return Row(
                DoubleArray(scores.length()) { scores.getDouble(it) },
                entry.getDouble("confidence"),
                entry.getBoolean("teacher"),
            )
        }
    }
}
