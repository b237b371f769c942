package edgedistill.glue

import org.json.JSONObject
import kotlin.math.abs

/**
 * A model that says what a picture shows.
 *
 * ```
 * val model = ImageModel.load(AssetBundle(context, "quickstart"))
 * val prediction = model.predict(bitmap.toFrame())
 * println(prediction.top)
 * ```
 *
 * Calls from several threads wait for each other. Load and predict off the main thread.
 *
 * @property model the same model with named tensors
 * @property preprocessing makes the model's input of a frame
 * @property labels in the order of the model's scores
 * @property router says which answers the teacher has to give instead
 */
public class ImageModel private constructor(
    private val bundle: BundleReader,
    public val model: Model,
    public val preprocessing: Preprocessing,
    private val output: String,
    public val labels: List<String>,
    public val router: Router,
) : AutoCloseable {
    /** Artifact, runtime and delegate. */
    public val info: ModelInfo get() = model.info

    /**
     * Say what [frame] shows.
     *
     * @param cancelled asked before the frame is prepared, and before and after the run
     * @throws ModelError.RuntimeFailure where the runtime fails
     * @throws ModelError.Cancelled where [cancelled] said true
     * @throws ModelError.Closed after [close]
     */
    public fun predict(frame: Frame, cancelled: () -> Boolean = { false }): Prediction {
        if (cancelled()) throw ModelError.Cancelled()
        val pixels = preprocessing.prepare(frame)
        val tensor = preprocessing.tensor(pixels, model.artifact.input)
        val outputs = model.run(mapOf(preprocessing.input to tensor), cancelled)
        return Prediction(labels, softmax(outputs.getValue(output).toDoubles()), features(pixels))
    }

    /** Run the model [times] times with zeros, so that the first frame is as fast as the others. */
    public fun warmUp(times: Int = 3): Unit = model.warmUp(times)

    /**
     * Prepare the golden frames and run the golden inputs of the bundle, and compare with the exporting machine.
     *
     * Call it once on each new kind of device, not at each start.
     */
    public fun selfTest(): SelfTest =
        model.selfTest({ largest(it.getValue(output).toDoubles()) }, checkFrames(), router.wrongRows())

    /** Free the runtime's memory. A call that is running ends first. */
    override fun close(): Unit = model.close()

    private fun checkFrames(): List<FrameCheck> = reading {
        val entries = model.manifest.document.optJSONArray("golden_frames") ?: return emptyList()
        entries.map { all, i -> checkFrame(i, all.getJSONObject(i)) }
    }

    private fun checkFrame(index: Int, entry: JSONObject): FrameCheck {
        val found = preprocessing.prepare(goldenFrame(entry, file(entry.getString("file"))))
        val expected = file(entry.getString("expected"))
        if (found.size != expected.size) {
            val reason = "found ${expected.size} bytes in ${entry.getString("expected")}, expected ${found.size}"
            throw ModelError.DamagedManifest(reason)
        }
        val largest = found.indices.maxOf { abs((found[it].toInt() and 0xff) - (expected[it].toInt() and 0xff)) }
        return FrameCheck(index, largest)
    }

    private fun file(path: String): ByteArray {
        val sha256 = model.manifest.files[path] ?: throw ModelError.DamagedManifest("has no SHA-256 of $path")
        return bundle.checked(path, sha256)
    }

    public companion object {
        /** Check the bundle and open one of its artifacts, as [Model.load] does it. */
        public fun load(
            bundle: BundleReader,
            options: ModelOptions = ModelOptions(),
            runtimes: List<ModelRuntime> = Generated.RUNTIMES,
        ): ImageModel {
            val model = Model.load(bundle, options, runtimes)
            try {
                return of(bundle, model)
            } catch (error: ModelError) {
                model.close()
                throw error
            }
        }

        private fun of(bundle: BundleReader, model: Model): ImageModel = reading {
            val preprocessing = Preprocessing.of(model.manifest)
            val kind = model.artifact.input
            if (kind != Preprocessing.FLOAT32_NCHW && kind != Preprocessing.UINT8_NHWC) {
                throw ModelError.NoRuntime("found ${model.artifact.name} with the input $kind: choose another artifact")
            }
            val scores = Scores.of(model)
            ImageModel(bundle, model, preprocessing, scores.output, scores.labels, Router.of(model, FEATURES))
        }
    }
}

/** The frame that [entry] of `golden_frames` describes, with the pixels [bytes]. */
private fun goldenFrame(entry: JSONObject, bytes: ByteArray): Frame = Frame(
    format = named(entry, "format"),
    width = entry.getInt("width"),
    height = entry.getInt("height"),
    planes = entry.getJSONArray("planes").map { all, i ->
        val plane = all.getJSONObject(i)
        Plane(bytes, plane.getInt("offset"), plane.getInt("row_stride"), plane.getInt("pixel_stride"))
    },
    orientation = entry.getInt("orientation"),
    matrix = if (entry.isNull("matrix")) YuvMatrix.BT601 else named(entry, "matrix"),
    range = if (entry.isNull("range")) YuvRange.FULL else named(entry, "range"),
)

private inline fun <reified T : Enum<T>> named(entry: JSONObject, key: String): T {
    val text = entry.getString(key)
    return enumValues<T>().find { it.name.equals(text, ignoreCase = true) }
        ?: throw ModelError.DamagedManifest("found the $key $text, expected ${enumValues<T>().toList()}")
}
