package edgedistill.glue

import org.json.JSONObject
import kotlin.math.exp
import kotlin.math.ln

/** Keeps the odds of a full confidence finite. */
private const val EDGE = 1e-4

/** How probable it is that an answer is wrong: weights of the measures of confidence and of the request's features. */
internal class RiskModel(
    private val intercept: Double,
    val measures: Map<String, Double>,
    val features: Map<String, Double>,
) {
    /** 1 less the probability that an answer is wrong. [measure] gives the confidence by a name. */
    fun sureness(known: Map<String, Double>, measure: (String) -> Double): Double {
        val odds = { name: String -> measure(name).let { ln((it + EDGE) / (1 + EDGE - it)) } }
        val risk = intercept + features.entries.sumOf { (name, weight) -> weight * (known[name] ?: Double.NaN) } +
            measures.entries.sumOf { (name, weight) -> weight * odds(name) }
        return 1 / (1 + exp(risk))
    }

    companion object {
        /** The model that [entry] of a decision table holds. */
        fun of(entry: JSONObject): RiskModel = RiskModel(
            entry.getDouble("intercept"),
            numbers(entry.getJSONObject("measures")),
            numbers(entry.getJSONObject("features")),
        )
    }
}

/** The numbers of [entry], by name. */
internal fun numbers(entry: JSONObject): Map<String, Double> =
    entry.keys().asSequence().associateWith { entry.getDouble(it) }
