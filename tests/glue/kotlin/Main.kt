package edgedistill.glue

import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.runBlocking
import org.json.JSONArray
import org.json.JSONObject
import java.io.File
import java.lang.management.ManagementFactory
import java.security.NoSuchAlgorithmException
import java.util.concurrent.CountDownLatch
import kotlin.math.abs

/**
 * Reads requests from standard input, a JSON document a line, and answers each with one.
 *
 * `{"do": "predict", "bundle": FOLDER, ...}` gives `{"answer": ...}`, or `{"error": CLASS, "message": TEXT}`.
 */
public fun main() {
    for (line in generateSequence(::readLine)) {
        val answer = try {
            JSONObject().put("answer", answer(JSONObject(line)))
        } catch (error: ModelError) {
            JSONObject().put("error", error.javaClass.simpleName).put("message", error.message)
                .put("cause", error.cause?.javaClass?.simpleName ?: JSONObject.NULL)
        } catch (error: Exception) {
            JSONObject().put("error", "unexpected").put("message", error.stackTraceToString())
        }
        println(answer)
    }
}

private fun answer(request: JSONObject): Any = when (val name = request.getString("do")) {
    "facts" -> JSONObject().put("name", Generated.NAME).put("labels", JSONArray(Generated.LABELS))
    "corpus" -> corpus(File(request.getString("folder")))
    "time" -> time(request)
    "frame" -> frame(request).toString()
    "tensor" -> tensor(request).toString()
    "npy" -> JSONArray(readNpy(File(request.getString("file")).readBytes(), "file.npy").toDoubles().toList())
    "update" -> update(request)
    "older" -> isOlder(request.getString("found"), request.getString("expected"))
    "run" -> Model.load(bundle(request), options(request)).use { run(it, request) }
    else -> ImageModel.load(bundle(request), options(request)).use { withImages(name, it, request) }
}

private fun withImages(name: String, model: ImageModel, request: JSONObject): Any = when (name) {
    "load" -> model.info.toString()
    "predict" -> prediction(model.predict(frame(request)))
    "route" -> {
        val found = model.predict(frame(request))
        JSONArray(listOf(model.router.confidence(found), model.router.asksTeacher(found)))
    }
    "prepared" -> hex(model.preprocessing.prepare(frame(request)))
    "predictAsync" -> runBlocking { prediction(model.predictAsync(frame(request))) }
    "warmUp" -> model.warmUp(request.getInt("times")).let { "warm" }
    "selfTest" -> selfTest(model.selfTest())
    "cancelled" -> {
        var asked = 0
        model.predict(frame(request)) { ++asked == request.getInt("when") }.toString()
    }
    "asked" -> {
        var asked = 0
        model.predict(frame(request)) { ++asked < 0 }
        asked
    }
    "coroutine" -> coroutine(model, frame(request))
    "closed" -> {
        model.close()
        model.close()
        model.predict(frame(request)).toString()
    }
    "threads" -> {
        val frame = frame(request)
        runBlocking {
            val calls = List(8) { async(Dispatchers.Default) { model.predict(frame).toString() } }
            calls.map { it.await() }.toSet().size
        }
    }
    else -> throw IllegalArgumentException("found the request $name")
}

private fun bundle(request: JSONObject) = FolderBundle(File(request.getString("bundle")))

private fun options(request: JSONObject): ModelOptions {
    val key = request.textOrNull("key")
    return ModelOptions(
        artifact = request.textOrNull("artifact"),
        threads = request.optInt("threads", 1),
        delegate = request.textOrNull("delegate"),
        manifestSha256 = request.textOrNull("manifest"),
        publicKey = key?.chunked(2)?.map { it.toInt(16).toByte() }?.toByteArray(),
        verifier = when (request.optString("verifier")) {
            "none" -> SignatureVerifier { _, _, _ -> throw NoSuchAlgorithmException("Ed25519") }
            "own" -> SignatureVerifier { _, _, _ -> true }
            else -> platformEd25519
        },
    )
}

/** Floats of the JSON list at `values`, in the shape at `shape`. */
private fun tensor(request: JSONObject): Tensor {
    val values = request.getJSONArray("values")
    val shape = request.getJSONArray("shape").map { all, i -> all.getInt(i) }
    return Tensor.of(FloatArray(values.length()) { values.getDouble(it).toFloat() }, *shape.toIntArray())
}

private fun run(model: Model, request: JSONObject): Any {
    val outputs = model.run(mapOf(request.getString("input") to tensor(request)))
    return JSONObject(outputs.mapValues { JSONArray(it.value.toDoubles().toList()) })
}

private fun prediction(found: Prediction): JSONObject = JSONObject()
    .put("top", found.top.label).put("index", found.top.index).put("probability", found.top.probability)
    .put("probabilities", JSONArray(found.probabilities.toList()))
    .put("top2", JSONArray(found.top(2).map { it.label }))
    .put("text", found.toString())

private fun selfTest(found: SelfTest): JSONObject = JSONObject()
    .put("ok", found.ok).put("describe", found.describe())
    .put("changed", found.decisionsChanged ?: JSONObject.NULL).put("routesWrong", found.routesWrong)
    .put("outputs", JSONArray(found.outputs.map { JSONArray(listOf(it.name, "${it.largestDifference}")) }))
    .put("worst", JSONArray(found.outputs.map { it.worstSample }))
    .put("frames", JSONArray(found.frames.map { it.largestDifference }))

/** How a coroutine ends that is cancelled during a call: the call has to be told, and the caller gets no result. */
private fun coroutine(model: ImageModel, frame: Frame): String = runBlocking {
    val started = CountDownLatch(1)
    var told = false
    val call = async(Dispatchers.Default) {
        offMainThread { cancelled ->
            started.countDown()
            try {
                repeat(5000) { model.predict(frame, cancelled) }
            } catch (error: ModelError.Cancelled) {
                told = true
                throw error
            }
        }
    }
    started.await()
    call.cancel()
    val end = try {
        call.await()
        "result"
    } catch (_: CancellationException) {
        "cancelled"
    }
    call.join()
    if (told) "told, $end" else "not told, $end"
}

/** The frame that the request describes as a line of the corpus does; its pixels are those of `file`, or zeros. */
private fun frame(request: JSONObject): Frame {
    val bytes = request.textOrNull("file")?.let { File(it).readBytes() } ?: ByteArray(request.getInt("bytes"))
    val text = { key: String -> request.optString(key, "-") }
    return frame(
        text("format"), request.getInt("width"), request.getInt("height"), request.optInt("orientation", 1),
        text("matrix"), text("range"), text("planes"), bytes,
    )
}

private fun frame(
    format: String,
    width: Int,
    height: Int,
    orientation: Int,
    matrix: String,
    range: String,
    planes: String,
    bytes: ByteArray,
) = Frame(
    format = PixelFormat.valueOf(format.uppercase()),
    width = width,
    height = height,
    planes = planes.split(';').map { plane ->
        val (offset, rowStride, pixelStride) = plane.split(':').map { it.toInt() }
        Plane(bytes, offset, rowStride, pixelStride)
    },
    orientation = orientation,
    matrix = if (matrix == "-") YuvMatrix.BT601 else YuvMatrix.valueOf(matrix.uppercase()),
    range = if (range == "-") YuvRange.FULL else YuvRange.valueOf(range.uppercase()),
)

/** How many frames of the corpus in [folder] there are, and which are not prepared to the expected bytes. */
private fun corpus(folder: File): JSONObject {
    val wrong = JSONArray()
    val lines = File(folder, "index.tsv").readLines().drop(1)
    for (line in lines) {
        val cells = line.split('\t')
        val frame = frame(
            cells[1], cells[2].toInt(), cells[3].toInt(), cells[4].toInt(), cells[5], cells[6], cells[7],
            File(folder, cells[9]).readBytes(),
        )
        val size = cells[8].toInt()
        val filter = if (cells[13] == "cubic") Filter.CUBIC else Filter.TRIANGLE
        val resize = Resize(cells[11].toInt(), cells[12] == "1", filter, cells[14] == "down")
        val found = resizeAndCrop(frame, resize, size, size)
        val expected = File(folder, cells[10]).readBytes()
        val largest = if (found.size == expected.size) {
            found.indices.maxOf { abs((found[it].toInt() and 0xff) - (expected[it].toInt() and 0xff)) }
        } else {
            256
        }
        if (largest > 0) wrong.put("$largest: $line")
    }
    return JSONObject().put("count", lines.size).put("wrong", wrong)
}

/** Milliseconds of processor time of each of `times` preparations, after as many that are not counted. */
private fun time(request: JSONObject): JSONArray {
    val clock = ManagementFactory.getThreadMXBean()
    val frame = frame(request)
    val size = request.getInt("size")
    val resize = Resize(size, false, Filter.TRIANGLE, false)
    val times = request.getInt("times")
    repeat(times) { resizeAndCrop(frame, resize, size, size) }
    return JSONArray(
        List(times) {
            val start = clock.currentThreadCpuTime
            resizeAndCrop(frame, resize, size, size)
            (clock.currentThreadCpuTime - start) / 1e6
        },
    )
}
