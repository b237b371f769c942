package edgedistill.glue

import kotlin.math.sqrt

/**
 * The vector of a text.
 *
 * @property values one number for each dimension
 */
public class Embedding(public val values: FloatArray) {
    /**
     * The cosine of two embeddings, from -1 to 1: texts that mean the same are close to 1. 0 where one of them has no
     * direction.
     *
     * @throws ModelError.WrongInput where they have different sizes, so that they are not of the same model
     */
    public fun similarity(other: Embedding): Double {
        if (values.size != other.values.size) {
            val found = "found embeddings of ${values.size} and ${other.values.size} numbers"
            throw ModelError.WrongInput("$found, expected two of the same model")
        }
        val lengths = sqrt(product(values, values)) * sqrt(product(other.values, other.values))
        return if (lengths == 0.0) 0.0 else (product(values, other.values) / lengths).coerceIn(-1.0, 1.0)
    }
}

private fun product(a: FloatArray, b: FloatArray): Double = a.indices.sumOf { a[it].toDouble() * b[it] }
