package edgedistill.sample

import edgedistill.models.quickstart.Artifact
import edgedistill.models.quickstart.BundleReader
import edgedistill.models.quickstart.DType
import edgedistill.models.quickstart.Generated
import edgedistill.models.quickstart.Model
import edgedistill.models.quickstart.ModelOptions
import edgedistill.models.quickstart.ModelRuntime
import edgedistill.models.quickstart.Port
import edgedistill.models.quickstart.Tensor
import edgedistill.models.quickstart.VARIES
import org.json.JSONArray
import org.json.JSONObject
import java.io.File
import java.io.FileOutputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.security.MessageDigest
import kotlin.math.abs
import kotlin.math.exp
import kotlin.math.floor
import kotlin.math.ln
import kotlin.math.sqrt
import kotlin.random.Random

/*
 * What `edgedistill bench` asks of an app, without anything of Android: the job, the protocol, the records. The rules are those of
 * docs/measuring.md and docs/devices.md.
 */

/** The job that the host sends. */
class MeasureJob(
    val nonce: String,
    val artifact: String,
    val threads: Int,
    val warmupS: Double,
    val relativeWidth: Double,
    val minS: Double,
    val maxS: Double,
    val minSamples: Int,
    val out: String,
) {
    companion object {
        private const val SCHEMA = 3
        private val OUT = Regex("edgedistill/[0-9a-f]+\\.jsonl")

        /** Reads the JSON [text]; throws an exception that says what is wrong with it. */
        fun parse(text: String): MeasureJob {
            val job = JSONObject(text)
            val kind = "schema ${job.getInt("schema")}, task ${job.getString("task")}"
            require(kind == "schema $SCHEMA, task run") { "found a job of $kind, expected schema $SCHEMA, task run" }
            val bench = job.getJSONObject("bench")
            val out = job.getString("out")
            require(OUT.matches(out)) { "found the file $out, expected edgedistill/NONCE.jsonl" }
            return MeasureJob(
                nonce = job.getString("nonce"),
                artifact = job.getString("artifact"),
                threads = job.getInt("threads"),
                warmupS = bench.getDouble("warmup_s"),
                relativeWidth = bench.getDouble("relative_width"),
                minS = bench.optDouble("min_s", 0.0),
                maxS = bench.getDouble("max_s"),
                minSamples = bench.getInt("min_samples"),
                out = out,
            )
        }
    }
}

/** Writes records to [file], a JSON object a line, each flushed at once. */
class Recorder(file: File) : AutoCloseable {
    private val stream: FileOutputStream
    private val digest = MessageDigest.getInstance("SHA-256")
    private var lines = 0

    init {
        // Those of earlier measurements.
        file.parentFile?.listFiles()?.forEach { it.delete() }
        file.parentFile?.mkdirs()
        stream = FileOutputStream(file)
    }

    fun write(type: String, vararg fields: Pair<String, Any?>) {
        val record = JSONObject().put("type", type)
        for ((name, value) in fields) record.put(name, value ?: JSONObject.NULL)
        val line = (record.toString() + "\n").toByteArray()
        stream.write(line)
        digest.update(line)
        lines++
    }

    /** The last record, by which the host knows that it has all of them, unchanged. */
    fun end(nonce: String) {
        val sum = digest.digest().joinToString("") { "%02x".format(it) }
        write("end", "nonce" to nonce, "records" to lines, "sha256" to sum)
        stream.fd.sync()
    }

    override fun close(): Unit = stream.close()
}

/**
 * Loads the job's artifact twice, warms up until steady, samples, and writes all records but `error`.
 *
 * @param check called between inferences; throws to stop the measurement
 */
fun measure(
    job: MeasureJob,
    bundle: BundleReader,
    recorder: Recorder,
    runtimes: List<ModelRuntime> = Generated.RUNTIMES,
    check: () -> Unit,
) {
    val options = ModelOptions(artifact = job.artifact, threads = job.threads)
    val before = status()
    val loadBegan = System.nanoTime()
    val first = Model.load(bundle, options, runtimes)
    val loadNs = System.nanoTime() - loadBegan
    val inputs = inputsOf(first.artifact)
    first.use { model ->
        recorder.write(
            "start",
            "nonce" to job.nonce,
            "versions" to versions(model.info.runtime),
            "artifact" to model.artifact.name,
            "sha256" to model.artifact.sha256,
            "threads" to job.threads,
        )
        clock(recorder)
        recorder.write("load", "kind" to "first", "ns" to loadNs)
        recorder.write("first_inference", "ns" to timed(model, inputs))
        memory(before, recorder)
    }
    check()
    val warmBegan = System.nanoTime()
    Model.load(bundle, options, runtimes).use { model ->
        recorder.write("load", "kind" to "warm", "ns" to System.nanoTime() - warmBegan)
        val once = {
            check()
            timed(model, inputs)
        }
        warmUp(job, recorder, once)
        sample(job, recorder, once)
    }
    clock(recorder)
    recorder.end(job.nonce)
}

private fun timed(model: Model, inputs: Map<String, Tensor>): Long {
    val began = System.nanoTime()
    model.run(inputs)
    return System.nanoTime() - began
}

/** The same random numbers each time: 0 to 1 for floating point, any byte for integers of 8 bits, else zeros. */
private fun inputsOf(artifact: Artifact): Map<String, Tensor> = artifact.inputs.associate { it.name to random(it) }

private fun random(port: Port): Tensor {
    val shape = port.shape.map { if (it == VARIES) 1 else it }
    val numbers = Random(1)
    val count = shape.fold(1) { product, size -> product * size }
    val memory = ByteBuffer.allocateDirect(count * port.dtype.size).order(ByteOrder.nativeOrder())
    when (port.dtype) {
        DType.FLOAT32 -> repeat(count) { memory.putFloat(4 * it, numbers.nextFloat()) }
        DType.UINT8, DType.INT8 -> repeat(count) { memory.put(it, numbers.nextInt().toByte()) }
        else -> Unit
    }
    return Tensor(port.dtype, shape, memory)
}

/** `litert 1.4.0` as {"litert": "1.4.0"}. */
private fun versions(runtime: String): JSONObject =
    JSONObject().put(runtime.substringBeforeLast(' '), runtime.substringAfterLast(' '))

private fun clock(recorder: Recorder) {
    val now = System.nanoTime()
    recorder.write("clock", "monotonic_ns" to now, "time_ns" to System.currentTimeMillis() * 1_000_000)
}

/** Resident memory of this process and its peak, in bytes; null where the kernel does not tell. */
private class Status(val resident: Long?, val peak: Long?)

private fun status(): Status {
    val lines = try {
        File("/proc/self/status").readLines()
    } catch (_: java.io.IOException) {
        emptyList()
    }
    fun bytes(field: String): Long? =
        lines.find { it.startsWith("$field:") }?.filter { it.isDigit() }?.toLongOrNull()?.times(1024)
    return Status(bytes("VmRSS"), bytes("VmHWM"))
}

private fun memory(before: Status, recorder: Recorder) {
    val high = status().peak
    val raised = high != null && before.peak != null && high > before.peak
    recorder.write(
        "memory",
        "rss_runtime_loaded" to before.resident,
        "peak_rss" to if (raised) high else null,
        "source" to if (raised) "VmHWM of /proc/self/status; the load raised it" else "the app had taken more memory before the load",
    )
}

private const val WINDOW_ITERATIONS = 10
private const val WINDOW_NS = 20_000_000L
private const val WINDOWS = 8
private const val BATCH_NS = 100_000_000L
private const val MIN_SAMPLING_NS = 500_000_000L

/** The two-sided limit of the normal distribution at a significance of 0.1. */
private const val NO_TREND = 1.6448536269514722

private fun warmUp(job: MeasureJob, recorder: Recorder, once: () -> Long) {
    val began = System.nanoTime()
    val boundNs = (job.warmupS * 1e9).toLong()
    val medians = ArrayList<Double>()
    var iterations = 0
    var steady = false
    while (!steady && System.nanoTime() - began < boundNs) {
        val window = arrayListOf(once())
        val opened = System.nanoTime()
        while (true) {
            val elapsed = System.nanoTime() - opened
            if ((window.size >= WINDOW_ITERATIONS && elapsed >= WINDOW_NS) || elapsed >= boundNs / 16) break
            window.add(once())
        }
        iterations += window.size
        medians.add(median(window.map { it.toDouble() }))
        steady = isSteady(medians, job.relativeWidth)
    }
    val ns = System.nanoTime() - began
    recorder.write("warmup", "iterations" to iterations, "windows" to medians.size, "steady" to steady, "ns" to ns)
}

/** Batches of 0.1 s, until the interval of the median is narrow enough or time is up. */
private fun sample(job: MeasureJob, recorder: Recorder, once: () -> Long) {
    val began = System.nanoTime()
    val minNs = maxOf(MIN_SAMPLING_NS, (job.minS * 1e9).toLong())
    val all = ArrayList<Long>()
    while (true) {
        val opened = System.nanoTime()
        val batch = ArrayList<Long>()
        do batch.add(once()) while (System.nanoTime() - opened < BATCH_NS)
        recorder.write("iterations", "t0_ns" to opened, "durations_ns" to JSONArray(batch))
        all.addAll(batch)
        if (all.size < job.minSamples) continue
        val elapsed = System.nanoTime() - began
        if (elapsed >= job.maxS * 1e9) return
        if (elapsed >= minNs && relativeHalfWidth(all.sorted()) <= job.relativeWidth) return
    }
}

internal fun median(values: List<Double>): Double {
    val ordered = values.sorted()
    val middle = ordered.size / 2
    return if (ordered.size % 2 == 1) ordered[middle] else (ordered[middle - 1] + ordered[middle]) / 2
}

/** Whether the halves of the last 8 medians differ little, or the Mann-Kendall test finds no trend in them. */
internal fun isSteady(medians: List<Double>, tolerance: Double): Boolean {
    if (medians.size < WINDOWS) return false
    val last = medians.takeLast(WINDOWS)
    val before = median(last.take(WINDOWS / 2))
    val after = median(last.drop(WINDOWS / 2))
    if (abs(after - before) <= tolerance * before) return true
    var s = 0
    for (i in last.indices) for (j in i + 1 until last.size) s += last[j].compareTo(last[i])
    val n = WINDOWS.toDouble()
    val ties = last.groupingBy { it }.eachCount().values.sumOf { it * (it - 1.0) * (2.0 * it + 5) }
    val variance = (n * (n - 1) * (2 * n + 5) - ties) / 18
    return s == 0 || variance == 0.0 || (abs(s) - 1) / sqrt(variance) < NO_TREND
}

/** Half of the 95% interval of the median of [ordered], as a share of the median; infinite for too few. */
internal fun relativeHalfWidth(ordered: List<Long>): Double {
    val rank = lowerRank(ordered.size)
    if (rank == 0) return Double.POSITIVE_INFINITY
    val median = ordered[ordered.size / 2]
    return (ordered[ordered.size - rank] - ordered[rank - 1]) / 2.0 / median
}

/** The rank of the lower end of that interval, by the binomial distribution; 0 where [n] is too small. */
internal fun lowerRank(n: Int): Int {
    val allowed = 0.025 * (1 - 1e-9)
    // Less than 1e-30 lies beyond 12 standard deviations.
    var rank = maxOf(0.0, floor(n * 0.5 - 12 * sqrt(n * 0.25))).toInt()
    var ways = 0.0
    for (k in 1..rank) ways += ln((n - k + 1).toDouble()) - ln(k.toDouble())
    var chance = exp(ways + n * ln(0.5))
    var below = chance
    while (below <= allowed) {
        chance *= (n - rank).toDouble() / (rank + 1)
        rank++
        below += chance
    }
    return rank
}
