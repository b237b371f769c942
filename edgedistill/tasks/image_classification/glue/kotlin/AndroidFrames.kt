package edgedistill.glue

import android.graphics.Bitmap
import android.graphics.ImageFormat
import android.graphics.PixelFormat.RGBA_8888
import android.media.Image
import java.nio.ByteBuffer

private const val STRIP = 64

/**
 * The pixels of a bitmap, copied.
 *
 * @param orientation what shows it upright, as EXIF numbers it; decoders of Android do not turn bitmaps
 */
public fun Bitmap.toFrame(orientation: Int = 1): Frame {
    if (config == Bitmap.Config.HARDWARE) {
        // Pixels of such a bitmap lie in the memory of the GPU.
        val readable: Bitmap = copy(Bitmap.Config.ARGB_8888, false)
        return try {
            readable.toFrame(orientation)
        } finally {
            readable.recycle()
        }
    }
    val bytes = ByteArray(width * height * 4)
    val strip = IntArray(width * STRIP)
    var at = 0
    for (top in 0 until height step STRIP) {
        val rows = minOf(STRIP, height - top)
        // Unlike copyPixelsToBuffer, this gives sRGB, and colors that are not premultiplied with alpha.
        getPixels(strip, 0, width, 0, top, width, rows)
        for (i in 0 until rows * width) {
            val color = strip[i]
            bytes[at] = (color shr 16).toByte()
            bytes[at + 1] = (color shr 8).toByte()
            bytes[at + 2] = color.toByte()
            bytes[at + 3] = (color ushr 24).toByte()
            at += 4
        }
    }
    return Frame(PixelFormat.RGBA8, width, height, listOf(Plane(bytes, 0, width * 4, 4)), orientation)
}

/**
 * The pixels of an image of a camera or decoder, copied; close the image afterwards.
 *
 * @param rotationDegrees clockwise turn that shows it upright: 0, 90, 180 or 270
 * @param matrix and [range] of YUV; cameras give [YuvMatrix.BT601] and [YuvRange.FULL]
 * @throws ModelError.WrongInput where it is neither YUV_420_888 nor RGBA_8888
 */
public fun Image.toFrame(
    rotationDegrees: Int,
    matrix: YuvMatrix = YuvMatrix.BT601,
    range: YuvRange = YuvRange.FULL,
): Frame {
    val copies = planes.map { copyPlane(it.buffer, it.rowStride, it.pixelStride) }
    return Frame(pixelFormat(format), width, height, copies, orientation(rotationDegrees), matrix, range)
}

/** [buffer] in memory that is fast to read pixel by pixel. */
internal fun copyPlane(buffer: ByteBuffer, rowStride: Int, pixelStride: Int): Plane {
    val view = buffer.duplicate()
    view.rewind()
    val bytes = ByteArray(view.remaining())
    view.get(bytes)
    return Plane(bytes, 0, rowStride, pixelStride)
}

/** The format that Android numbers as [format]. */
internal fun pixelFormat(format: Int): PixelFormat = when (format) {
    ImageFormat.YUV_420_888 -> PixelFormat.YUV420
    RGBA_8888 -> PixelFormat.RGBA8
    else -> throw ModelError.WrongInput("found an image of the format $format, expected YUV_420_888 or RGBA_8888")
}

/** The EXIF orientation of a clockwise turn. */
internal fun orientation(rotationDegrees: Int): Int = when (rotationDegrees) {
    0 -> 1
    90 -> 6
    180 -> 3
    270 -> 8
    else -> throw ModelError.WrongInput("found a rotation of $rotationDegrees degrees, expected 0, 90, 180 or 270")
}
