package edgedistill.glue

import org.json.JSONObject

/**
 * Makes the input of the model from a frame, exactly as in training.
 *
 * @property input name of the model's input
 * @property height and [width] of what the model sees, in pixels
 */
public class Preprocessing internal constructor(
    public val input: String,
    private val resize: Resize,
    public val height: Int,
    public val width: Int,
) {
    /**
     * What the model sees of [frame]: upright, resized, the centre.
     *
     * @return RGB, `[height, width, 3]`, 0 to 255
     */
    public fun prepare(frame: Frame): ByteArray = resizeAndCrop(frame, resize, height, width)

    /**
     * [pixels] of [prepare] as a tensor.
     *
     * @param kind `float32-nchw` gives `[1, 3, height, width]` from 0 to 1, `uint8-nhwc` gives `[1, height, width, 3]`
     */
    internal fun tensor(pixels: ByteArray, kind: String): Tensor = when (kind) {
        UINT8_NHWC -> Tensor.of(pixels, 1, height, width, 3)
        else -> {
            val size = height * width
            val values = FloatArray(3 * size)
            for (i in 0 until size) {
                for (c in 0 until 3) values[c * size + i] = PART_OF_255[pixels[3 * i + c].toInt() and 0xff]
            }
            Tensor.of(values, 1, 3, height, width)
        }
    }

    internal companion object {
        const val FLOAT32_NCHW = "float32-nchw"
        const val UINT8_NHWC = "uint8-nhwc"
        private const val ROUNDED_DOWN = "center, rounded down"
        private val PART_OF_255 = FloatArray(256) { it / 255f }

        /**
         * What the manifest says about the model's only image.
         *
         * @throws ModelError.DamagedManifest where it is not what this code does
         */
        fun of(manifest: Manifest): Preprocessing = reading {
            val inputs = manifest.document.getJSONObject("preprocessing").getJSONObject("inputs")
            val name = inputs.keys().asSequence().singleOrNull()
                ?: throw ModelError.DamagedManifest("found ${inputs.length()} prepared inputs, expected one image")
            val image = inputs.getJSONObject(name)
            val resize = image.getJSONObject("resize")
            val crop = image.getJSONObject("crop")
            expect(image, "kind", "image")
            expect(image, "color", "RGB")
            expect(resize, "filter", "triangle", "cubic")
            expect(resize, "antialias", "true")
            expect(crop, "place", "center", ROUNDED_DOWN)
            expect(image.getJSONObject("normalization"), "where", "inside the program")
            if (!image.isNull("padding")) throw ModelError.DamagedManifest("found padding, expected none")
            val preprocessing = Preprocessing(name, resizeOf(resize, crop), crop.getInt("height"), crop.getInt("width"))
            val side = preprocessing.resize.side
            if (preprocessing.height !in 1..side || preprocessing.width !in 1..side) {
                throw ModelError.DamagedManifest("found a crop larger than the resized side of $side pixels, or empty")
            }
            preprocessing
        }

        private fun resizeOf(resize: JSONObject, crop: JSONObject): Resize {
            val stretch = resize.has("width")
            if (stretch) expect(resize, "height", resize.get("width").toString())
            val filter = if (resize.getString("filter") == "cubic") Filter.CUBIC else Filter.TRIANGLE
            val side = resize.getInt(if (stretch) "width" else "shorter_side")
            return Resize(side, stretch, filter, crop.getString("place") == ROUNDED_DOWN)
        }

        /** Throws [ModelError.DamagedManifest] unless [entry] says one of [expected] at [key]. */
        fun expect(entry: JSONObject, key: String, vararg expected: String) {
            val found = entry.get(key).toString()
            if (found !in expected) {
                val known = expected.joinToString(" or ") { "'$it'" }
                throw ModelError.DamagedManifest("found $key '$found', expected $known, all that this code does")
            }
        }
    }
}
