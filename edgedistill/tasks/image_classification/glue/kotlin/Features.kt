package edgedistill.glue

import kotlin.math.sqrt

private const val LARGEST = 255.0
private val CHANNELS = listOf("red", "green", "blue")

/** What is known of an image without the model: mean and standard deviation of each channel, from 0 to 1. */
internal val FEATURES: Set<String> = CHANNELS.flatMap { listOf("${it}_mean", "${it}_deviation") }.toSet()

/** The features of RGB bytes. Sums are those of whole numbers, so that every language gives the same. */
internal fun features(pixels: ByteArray): Map<String, Double> = buildMap {
    val count = pixels.size / CHANNELS.size
    CHANNELS.forEachIndexed { channel, name ->
        var sum = 0L
        var squares = 0L
        for (i in channel until pixels.size step CHANNELS.size) {
            val value = pixels[i].toLong() and 0xff
            sum += value
            squares += value * value
        }
        put("${name}_mean", sum / (count * LARGEST))
        put("${name}_deviation", sqrt((count * squares - sum * sum).toDouble()) / (count * LARGEST))
    }
}
