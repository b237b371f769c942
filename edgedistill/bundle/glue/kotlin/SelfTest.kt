package edgedistill.glue

import kotlin.math.abs

/**
 * How far an output is from the golden one.
 *
 * @property largestDifference over all numbers of all samples
 * @property tolerance what the manifest allows
 * @property worstSample the sample with [largestDifference]
 */
public class OutputCheck internal constructor(
    public val name: String,
    public val largestDifference: Double,
    public val tolerance: Double,
    public val worstSample: Int,
) {
    /** Whether the difference is within the tolerance. */
    public val ok: Boolean get() = largestDifference <= tolerance
}

/**
 * How far this device's preparation of a golden frame is from the expected one.
 *
 * @property index which frame of the bundle
 * @property largestDifference in steps of 8 bits; all devices compute the same, so 0 is expected
 */
public class FrameCheck internal constructor(public val index: Int, public val largestDifference: Int) {
    /** Whether the bytes are equal. */
    public val ok: Boolean get() = largestDifference == 0
}

/**
 * What a self-test found.
 *
 * @property outputs one check for each output; empty where the bundle has no golden outputs of this artifact
 * @property frames one check for each golden frame; empty where the task has none
 * @property decisionsChanged in how many samples the decision is another one; null where the task decides nothing
 * @property routesWrong golden rows of the router's table that are decided in another way than where it was made
 */
public class SelfTest internal constructor(
    public val artifact: String,
    public val runtime: String,
    public val delegate: String,
    public val samples: Int,
    public val outputs: List<OutputCheck>,
    public val frames: List<FrameCheck>,
    public val decisionsChanged: Int?,
    public val routesWrong: Int,
) {
    /** Whether outputs, frames and routes are as expected. False where there was no output to compare. */
    public val ok: Boolean
        get() = outputs.isNotEmpty() && outputs.all { it.ok } && frames.all { it.ok } && routesWrong == 0

    /** The result as a few lines of text, for a log or a support message. */
    public fun describe(): String = buildString {
        appendLine("self-test ${if (ok) "passed" else "FAILED"}: $artifact, $runtime, delegate $delegate")
        if (outputs.isEmpty()) appendLine("outputs: not compared, the bundle has no golden outputs of this artifact")
        for (output in outputs) {
            append("output ${output.name}: largest difference ${output.largestDifference}, ")
            append("${if (output.ok) "within" else "ABOVE"} the tolerance ${output.tolerance}, ")
            appendLine("in sample ${output.worstSample} of $samples")
        }
        if (decisionsChanged != null) appendLine("decisions changed: $decisionsChanged of $samples")
        if (routesWrong > 0) appendLine("router: $routesWrong row(s) of its table are decided in ANOTHER way")
        val wrong = frames.filter { !it.ok }
        if (frames.isNotEmpty()) appendLine("frames prepared: ${frames.size}, different: ${wrong.size}")
        for (frame in wrong) appendLine("frame ${frame.index}: largest difference ${frame.largestDifference} of 255")
    }.trimEnd()
}

/** Runs the golden samples of [model]'s artifact. */
internal class GoldenTest(private val bundle: BundleReader, private val model: Model) {
    private val golden = model.artifact.golden

    fun run(decide: ((Map<String, Tensor>) -> Int)?, frames: List<FrameCheck>, routesWrong: Int): SelfTest {
        val inputs = read(model.artifact.inputs, golden.inputs)
        val expected = golden.outputs?.let { read(model.artifact.outputs, it) }
        val worst = expected?.keys.orEmpty().associateWith { 0.0 to 0 }.toMutableMap()
        var changed = 0
        for (i in 0 until golden.count) {
            val found = model.run(pick(model.artifact.inputs, inputs, i))
            val wanted = expected?.let { pick(model.artifact.outputs, it, i) } ?: continue
            for ((name, tensor) in wanted) {
                val difference = largestDifference(found.getValue(name), tensor, name)
                if (difference > worst.getValue(name).first) worst[name] = difference to i
            }
            if (decide != null && decide(found) != decide(wanted)) changed++
        }
        return SelfTest(
            artifact = model.info.artifact,
            runtime = model.info.runtime,
            delegate = model.info.delegate,
            samples = golden.count,
            outputs = worst.map { (name, w) -> OutputCheck(name, w.first, golden.tolerance[name] ?: 0.0, w.second) },
            frames = frames,
            decisionsChanged = if (decide == null || expected == null) null else changed,
            routesWrong = routesWrong,
        )
    }

    private fun read(ports: List<Port>, files: Map<String, CheckedFile>): Map<String, Tensor> =
        ports.associate { port ->
            val file = files[port.name] ?: throw ModelError.DamagedManifest("has no golden file of ${port.name}")
            val tensor = readNpy(bundle.checked(file.path, file.sha256), file.path)
            if (golden.count < 1 || tensor.shape.firstOrNull() != golden.count) {
                throw ModelError.DamagedManifest("${file.path} is $tensor, expected ${golden.count} samples")
            }
            port.name to tensor
        }

    private fun pick(ports: List<Port>, samples: Map<String, Tensor>, i: Int): Map<String, Tensor> =
        ports.associate { it.name to sample(samples.getValue(it.name), i, it.shape.size) }
}

/** The largest absolute difference; infinite where only one of two numbers is a NaN. */
private fun largestDifference(found: Tensor, expected: Tensor, name: String): Double {
    if (found.shape != expected.shape) {
        throw ModelError.RuntimeFailure("self-test", IllegalStateException("found $name as $found, expected $expected"))
    }
    val a = found.toDoubles()
    val b = expected.toDoubles()
    var largest = 0.0
    for (i in a.indices) {
        val difference = if (a[i] == b[i] || (a[i].isNaN() && b[i].isNaN())) 0.0 else abs(a[i] - b[i])
        largest = maxOf(largest, if (difference.isNaN()) Double.POSITIVE_INFINITY else difference)
    }
    return largest
}
