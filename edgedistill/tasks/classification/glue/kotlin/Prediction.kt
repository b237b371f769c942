package edgedistill.glue

import java.util.Locale
import kotlin.math.exp

/** The manifest has another number of labels than the model gives scores. */
public class WrongLabels internal constructor(found: Int, expected: Int) :
    ModelError("found $found labels in $MANIFEST_FILE, the model gives $expected scores: write the bundle again")

/**
 * One label with its probability.
 *
 * @property index of the label in the manifest's list
 * @property probability from 0 to 1
 */
public class Score internal constructor(
    public val label: String,
    public val index: Int,
    public val probability: Double,
) {
    override fun toString(): String = "$label ${"%.1f".format(Locale.ROOT, 100 * probability)}%"
}

/**
 * What the model says about a frame or a text.
 *
 * @property labels all labels, in the manifest's order
 * @property probabilities one for each label, in the same order; their sum is 1
 * @property features what is known of the request without the model, such as its length
 */
public class Prediction internal constructor(
    public val labels: List<String>,
    public val probabilities: DoubleArray,
    public val features: Map<String, Double> = emptyMap(),
) {
    /** The most probable label. */
    public val top: Score get() = top(1).single()

    /** The [k] most probable labels, the most probable first; all where there are fewer. */
    public fun top(k: Int): List<Score> =
        probabilities.indices.sortedByDescending { probabilities[it] }.take(k)
            .map { Score(labels[it], it, probabilities[it]) }

    override fun toString(): String = top.toString()
}

/**
 * Probabilities of [logits]: exp(x - max) / sum, in double precision.
 *
 * @throws ModelError.RuntimeFailure where a logit is not finite
 */
internal fun softmax(logits: DoubleArray): DoubleArray {
    if (logits.isEmpty() || logits.any { !it.isFinite() }) {
        val found = IllegalStateException("found logits that are no finite numbers, or none")
        throw ModelError.RuntimeFailure("reading the outputs", found)
    }
    val largest = logits.max()
    val powers = DoubleArray(logits.size) { exp(logits[it] - largest) }
    val sum = powers.sum()
    return DoubleArray(powers.size) { powers[it] / sum }
}

/** The index of the largest of [values], the first of equal ones. */
internal fun largest(values: DoubleArray): Int = values.indices.maxByOrNull { values[it] } ?: 0
