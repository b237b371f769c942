package edgedistill.glue

import kotlin.math.abs

private const val BITS = 22
private const val HALF = 1 shl (BITS - 1)

/** How many rows are read at once where they are columns of the frame. */
private const val BLOCK = 16

/** A filter of Pillow, whose weight at a distance of 0 or more is [at], and 0 from [reach] on. */
internal enum class Filter(val reach: Double, val at: (Double) -> Double) {
    /** Pillow's BILINEAR. */
    TRIANGLE(1.0, { maxOf(0.0, 1.0 - it) }),

    /** Pillow's BICUBIC: Keys' kernel with a = -0.5. */
    CUBIC(
        2.0,
        { x ->
            when {
                x < 1 -> (1.5 * x - 2.5) * x * x + 1.0
                x < 2 -> (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
                else -> 0.0
            }
        },
    ),
}

/**
 * How a picture becomes what the model sees.
 *
 * @property side what the shorter side is resized to, or both sides where the picture is [stretched][stretch]
 * @property down whether half of an odd margin is rounded down, and not to the even neighbour
 */
internal class Resize(val side: Int, val stretch: Boolean, val filter: Filter, val down: Boolean)

/**
 * Resize the upright picture of [frame] as [resize] says, and cut [width] x [height] from its centre.
 *
 * The filter is wide enough to cover all pixels when it makes a picture smaller, in integer weights of 22 bits, first
 * along rows and then along columns. This is exactly what Pillow computes, and what the model was trained with. Only
 * what the cut keeps is computed.
 *
 * @return RGB, `[height, width, 3]`, 0 to 255
 */
internal fun resizeAndCrop(frame: Frame, resize: Resize, height: Int, width: Int): ByteArray {
    val pixels = UprightPixels(frame)
    val columns = weights(pixels.width, pixels, resize, width)
    val rows = weights(pixels.height, pixels, resize, height)
    return alongColumns(alongRows(pixels, columns, rows), rows, 3 * width)
}

/** The weights of the middle [kept] places of a side of [from] pixels. */
private fun weights(from: Int, pixels: UprightPixels, resize: Resize, kept: Int): Weights {
    val short = minOf(pixels.width, pixels.height)
    val to = if (resize.stretch) resize.side else (resize.side.toLong() * from / short).toInt()
    val margin = if (resize.down) (to - kept) / 2 else halfToEven(to - kept)
    return Weights(from, to, margin, kept, resize.filter)
}

/** [number] / 2, rounded to the even neighbour. */
private fun halfToEven(number: Int): Int = number / 2 + (if (number % 2 != 0 && number / 2 % 2 != 0) 1 else 0)

/**
 * For the places [first] until [first] + [count] of a side of [to] pixels: which pixels of a side of [from] pixels they
 * are made of, and how much of each. Without a change of size each place is one pixel.
 */
private class Weights(from: Int, to: Int, first: Int, val count: Int, filter: Filter) {
    private val scale = from.toDouble() / to
    private val widened = maxOf(scale, 1.0)
    private val support = filter.reach * widened

    /** First pixel of each place. */
    val lows = IntArray(count)

    /** Number of pixels of each place. */
    val sizes = IntArray(count)

    /** Most pixels of a place; the weights of place i begin at i * [most]. */
    val most = if (from == to) 1 else 2 * support.toInt() + 3
    val values = IntArray(count * most)

    init {
        val exact = DoubleArray(most)
        for (i in 0 until count) {
            if (from == to) {
                lows[i] = first + i
                sizes[i] = 1
                values[i] = 1 shl BITS
                continue
            }
            val center = (first + i + 0.5) * scale
            val low = maxOf(0, (center - support + 0.5).toInt())
            val size = minOf(from, (center + support + 0.5).toInt()) - low
            var sum = 0.0
            for (k in 0 until size) {
                exact[k] = filter.at(abs((k + low - center + 0.5) * (1.0 / widened)))
                sum += exact[k]
            }
            for (k in 0 until size) {
                val whole = exact[k] / sum * (1 shl BITS)
                values[i * most + k] = (if (whole < 0) whole - 0.5 else whole + 0.5).toInt()
            }
            lows[i] = low
            sizes[i] = size
        }
    }

    /** The first pixel that any place needs, and the one behind the last. */
    val low: Int get() = lows[0]
    val high: Int get() = lows[count - 1] + sizes[count - 1]
}

/** The rows that [rows] needs, each resized along itself: `[rows.high - rows.low, columns.count, 3]`. */
private fun alongRows(pixels: UprightPixels, columns: Weights, rows: Weights): ByteArray {
    val length = columns.high - columns.low
    val block = if (pixels.transposed) BLOCK else 1
    val read = RgbRows(block * length)
    val out = ByteArray((rows.high - rows.low) * columns.count * 3)
    var at = 0
    for (top in rows.low until rows.high step block) {
        val bottom = minOf(top + block, rows.high)
        pixels.read(top, bottom, columns.low, columns.high, read)
        for (row in 0 until bottom - top) {
            resizeRow(read, row * length - columns.low, columns, out, at)
            at += columns.count * 3
        }
    }
    return out
}

private fun resizeRow(read: RgbRows, start: Int, columns: Weights, out: ByteArray, at: Int) {
    val reds = read.red
    val greens = read.green
    val blues = read.blue
    val weights = columns.values
    var to = at
    for (i in 0 until columns.count) {
        val from = start + columns.lows[i]
        val first = i * columns.most
        val size = columns.sizes[i]
        var red = HALF
        var green = HALF
        var blue = HALF
        for (k in 0 until size) {
            val weight = weights[first + k]
            red += weight * reds[from + k]
            green += weight * greens[from + k]
            blue += weight * blues[from + k]
        }
        out[to] = clamp(red shr BITS).toByte()
        out[to + 1] = clamp(green shr BITS).toByte()
        out[to + 2] = clamp(blue shr BITS).toByte()
        to += 3
    }
}

/** Rows of [length] bytes, resized along columns: `[rows.count, length]`. */
private fun alongColumns(read: ByteArray, rows: Weights, length: Int): ByteArray {
    val out = ByteArray(rows.count * length)
    val sums = IntArray(length)
    for (i in 0 until rows.count) {
        sums.fill(HALF)
        for (k in 0 until rows.sizes[i]) {
            val weight = rows.values[i * rows.most + k]
            val from = (rows.lows[i] - rows.low + k) * length
            for (x in 0 until length) sums[x] += weight * (read[from + x].toInt() and 0xff)
        }
        for (x in 0 until length) out[i * length + x] = clamp(sums[x] shr BITS).toByte()
    }
    return out
}
