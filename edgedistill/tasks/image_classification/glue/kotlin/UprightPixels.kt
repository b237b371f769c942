package edgedistill.glue

/** RGB of some rows of a picture, a plane each: pixel (x, y) of `width` columns is at y * width + x, 0 to 255. */
internal class RgbRows(pixels: Int) {
    val red = IntArray(pixels)
    val green = IntArray(pixels)
    val blue = IntArray(pixels)
}

/**
 * Reads a frame as an upright picture in RGB of 8 bits. Turning maps places; nothing is copied.
 *
 * All arithmetic is in integers, so that each device computes the same bytes.
 */
internal class UprightPixels(private val frame: Frame) {
    /** Whether a row of the upright picture is a column of the frame. */
    val transposed = frame.orientation >= 5
    val width = if (transposed) frame.height else frame.width
    val height = if (transposed) frame.width else frame.height
    private val mirroredX = frame.orientation in intArrayOf(2, 3, 7, 8)
    private val mirroredY = frame.orientation in intArrayOf(3, 4, 6, 7)
    private val convert: Line = when (frame.format) {
        PixelFormat.RGB8 -> interleaved(0, 2)
        PixelFormat.BGR8 -> interleaved(2, 0)
        PixelFormat.RGBA8 -> overWhite(0, 2)
        PixelFormat.BGRA8 -> overWhite(2, 0)
        PixelFormat.GREY8 -> interleaved(0, 0, green = 0)
        PixelFormat.GREY16 -> grey16()
        PixelFormat.YUV420 -> yuv420()
    }

    /**
     * Read the columns [left] until [right] of the rows [top] until [bottom] of the upright picture.
     *
     * Memory is always read along the frame's rows. Where these are columns of the upright picture, several rows at
     * once are faster than each alone.
     */
    fun read(top: Int, bottom: Int, left: Int, right: Int, into: RgbRows) {
        val dx = if (mirroredX) -1 else 1
        if (transposed) {
            val x = if (mirroredX) frame.width - 1 - top else top
            for (column in left until right) {
                val y = if (mirroredY) frame.height - 1 - column else column
                convert.read(x, y, dx, bottom - top, into, column - left, right - left)
            }
        } else {
            val x = if (mirroredX) frame.width - 1 - left else left
            for (row in top until bottom) {
                val y = if (mirroredY) frame.height - 1 - row else row
                convert.read(x, y, dx, right - left, into, (row - top) * (right - left), 1)
            }
        }
    }

    /** Converts pixels of one row of the frame. */
    private fun interface Line {
        /** Write [count] pixels from ([x], [y]) on in the direction [dx], to [into] at [at], [at] + [step] ... */
        fun read(x: Int, y: Int, dx: Int, count: Int, into: RgbRows, at: Int, step: Int)
    }

    private fun interleaved(red: Int, blue: Int, green: Int = 1) = Line { x, y, dx, count, into, at, step ->
        val plane = frame.planes[0]
        val bytes = plane.bytes
        var from = plane.offset + y * plane.rowStride + x * plane.pixelStride
        val move = dx * plane.pixelStride
        var to = at
        repeat(count) {
            into.red[to] = bytes[from + red].toInt() and 0xff
            into.green[to] = bytes[from + green].toInt() and 0xff
            into.blue[to] = bytes[from + blue].toInt() and 0xff
            from += move
            to += step
        }
    }

    private fun overWhite(red: Int, blue: Int) = Line { x, y, dx, count, into, at, step ->
        val plane = frame.planes[0]
        val bytes = plane.bytes
        var from = plane.offset + y * plane.rowStride + x * plane.pixelStride
        val move = dx * plane.pixelStride
        var to = at
        repeat(count) {
            val alpha = bytes[from + 3].toInt() and 0xff
            into.red[to] = composed(bytes[from + red].toInt() and 0xff, alpha)
            into.green[to] = composed(bytes[from + 1].toInt() and 0xff, alpha)
            into.blue[to] = composed(bytes[from + blue].toInt() and 0xff, alpha)
            from += move
            to += step
        }
    }

    private fun grey16() = Line { x, y, dx, count, into, at, step ->
        val plane = frame.planes[0]
        val bytes = plane.bytes
        var from = plane.offset + y * plane.rowStride + x * plane.pixelStride
        val move = dx * plane.pixelStride
        var to = at
        repeat(count) {
            val value = (bytes[from].toInt() and 0xff) or ((bytes[from + 1].toInt() and 0xff) shl 8)
            val grey = (value + 128) / 257
            into.red[to] = grey
            into.green[to] = grey
            into.blue[to] = grey
            from += move
            to += step
        }
    }

    private fun yuv420(): Line {
        val (luma, u, v) = frame.planes
        val factors = factors(frame.matrix, frame.range)
        return Line { x, y, dx, count, into, at, step ->
            // Locals, because the compilers of Java read fields again in each turn of a loop.
            val (black, lumaBy, redV, greenU, greenV, blueU) = factors
            val lumas = luma.bytes
            val us = u.bytes
            val vs = v.bytes
            val strideU = u.pixelStride
            val strideV = v.pixelStride
            val rowU = u.offset + (y shr 1) * u.rowStride
            val rowV = v.offset + (y shr 1) * v.rowStride
            val reds = into.red
            val greens = into.green
            val blues = into.blue
            val move = dx * luma.pixelStride
            var from = luma.offset + y * luma.rowStride + x * luma.pixelStride
            var column = x
            var to = at
            repeat(count) {
                val half = column shr 1
                val white = ((lumas[from].toInt() and 0xff) - black) * lumaBy + ROUND
                val du = (us[rowU + half * strideU].toInt() and 0xff) - 128
                val dv = (vs[rowV + half * strideV].toInt() and 0xff) - 128
                reds[to] = clamp((white + redV * dv) shr 16)
                greens[to] = clamp((white - greenU * du - greenV * dv) shr 16)
                blues[to] = clamp((white + blueU * du) shr 16)
                from += move
                column += dx
                to += step
            }
        }
    }

    private companion object {
        const val ROUND = 1 shl 15

        /** [value] of a pixel with [alpha] over white, as Pillow composes it. */
        fun composed(value: Int, alpha: Int): Int {
            if (alpha == 255) return value
            if (alpha == 0) return 255
            val own = alpha * 128
            val sum = value * own + 255 * (32640 - own) + (128 shl 7)
            return (((sum shr 8) + sum) shr 8) shr 7
        }
    }
}

/** [value], or the nearest number of 8 bits. */
internal fun clamp(value: Int): Int = minOf(maxOf(value, 0), 255)

/** Y of black, and factors in steps of 1/65536: of Y, of V in red, of U and V in green, of U in blue. */
private fun factors(matrix: YuvMatrix, range: YuvRange): IntArray = when (matrix) {
    YuvMatrix.BT601 -> when (range) {
        YuvRange.FULL -> intArrayOf(0, 65536, 91881, 22553, 46802, 116130)
        YuvRange.VIDEO -> intArrayOf(16, 76309, 104597, 25675, 53279, 132201)
    }
    YuvMatrix.BT709 -> when (range) {
        YuvRange.FULL -> intArrayOf(0, 65536, 103206, 12276, 30679, 121609)
        YuvRange.VIDEO -> intArrayOf(16, 76309, 117489, 13975, 34925, 138438)
    }
}

private operator fun IntArray.component6(): Int = this[5]
