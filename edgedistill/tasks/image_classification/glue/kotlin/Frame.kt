package edgedistill.glue

/**
 * How the pixels of a [Frame] lie in memory. Alpha is not premultiplied; pixels are composed with white.
 *
 * @property channels bytes of a pixel, or of a sample of a plane of [YUV420]
 */
public enum class PixelFormat(internal val channels: Int) {
    RGB8(3),
    BGR8(3),
    RGBA8(4),
    BGRA8(4),
    GREY8(1),

    /** 16 bits, little endian. */
    GREY16(2),

    /** Three planes Y, U, V, the last two at half the width and height: I420, NV12, NV21 and YUV_420_888. */
    YUV420(1),
}

/** How YUV becomes RGB. Cameras of phones use [BT601], video in HD uses [BT709]. */
public enum class YuvMatrix { BT601, BT709 }

/** What black and white are in YUV: [FULL] is 0 to 255, [VIDEO] is 16 to 235. Cameras of phones use [FULL]. */
public enum class YuvRange { FULL, VIDEO }

/**
 * Samples in memory. All sizes are in bytes.
 *
 * @property bytes memory, which several planes may share
 * @property offset of the first sample
 * @property rowStride from a sample to the one below
 * @property pixelStride from a sample to the next one of its row
 */
public class Plane(
    public val bytes: ByteArray,
    public val offset: Int,
    public val rowStride: Int,
    public val pixelStride: Int,
)

/**
 * A picture in memory, as a camera or a decoder gives it.
 *
 * @property format how the pixels lie in memory
 * @property width in pixels, before [orientation]
 * @property height in pixels, before [orientation]
 * @property planes one plane, or three for [PixelFormat.YUV420]
 * @property orientation what shows the picture upright, as EXIF numbers it: 1 as it is, 3 turned by 180 degrees, 6 by
 *   90 degrees clockwise, 8 by 90 degrees counter-clockwise; 2, 4, 5 and 7 are mirrored
 * @property matrix and [range] of a [PixelFormat.YUV420]
 * @throws ModelError.WrongInput where the planes cannot hold such a picture
 */
public class Frame(
    public val format: PixelFormat,
    public val width: Int,
    public val height: Int,
    public val planes: List<Plane>,
    public val orientation: Int = 1,
    public val matrix: YuvMatrix = YuvMatrix.BT601,
    public val range: YuvRange = YuvRange.FULL,
) {
    init {
        if (width < 1 || height < 1) wrong("found a frame of $width x $height pixels, expected 1 x 1 or more")
        if (maxOf(width, height) > MOST_RATIO * minOf(width, height).toLong()) {
            wrong("found a frame of $width x $height pixels, expected sides of a ratio of at most $MOST_RATIO")
        }
        if (orientation !in 1..8) wrong("found the orientation $orientation, expected an EXIF orientation, 1 to 8")
        val expected = if (format == PixelFormat.YUV420) 3 else 1
        if (planes.size != expected) wrong("found ${planes.size} planes of $format, expected $expected")
        planes.forEachIndexed { i, plane ->
            val half = format == PixelFormat.YUV420 && i > 0
            checkPlane(plane, i, if (half) (width + 1) / 2 else width, if (half) (height + 1) / 2 else height)
        }
    }

    private fun checkPlane(plane: Plane, index: Int, columns: Int, rows: Int) {
        val size = format.channels
        if (plane.pixelStride < size) {
            wrong("found a pixel stride of ${plane.pixelStride} in plane $index of $format, expected $size or more")
        }
        val row = (columns - 1) * plane.pixelStride.toLong() + size
        if (plane.rowStride < row) {
            wrong("found a row stride of ${plane.rowStride} in plane $index of $format, expected $row or more")
        }
        // The last row may end behind its last sample.
        val needed = plane.offset + (rows - 1) * plane.rowStride.toLong() + row
        if (plane.offset < 0 || plane.bytes.size < needed) {
            wrong(
                "found ${plane.bytes.size} bytes with the offset ${plane.offset} in plane $index of $format, " +
                    "expected $needed bytes for $width x $height pixels",
            )
        }
    }

    override fun toString(): String = "$format $width x $height, orientation $orientation"

    public companion object {
        private const val MOST_RATIO = 50

        private fun wrong(reason: String): Nothing = throw ModelError.WrongInput(reason)
    }
}
