package edgedistill.glue

import java.security.MessageDigest
import java.util.concurrent.locks.ReentrantLock
import kotlin.concurrent.withLock

/**
 * What a loaded model is.
 *
 * @property artifact name of the model file
 * @property runtime name and version of what runs it
 * @property delegate what computes; `unknown: ...` with the reason where the runtime does not tell
 */
public class ModelInfo internal constructor(
    public val artifact: String,
    public val runtime: String,
    public val delegate: String,
) {
    override fun toString(): String = "$artifact, $runtime, delegate $delegate"
}

/**
 * A model file of a bundle, checked and open: named tensors in, named tensors out.
 *
 * Calls from several threads wait for each other. Call off the main thread: loading reads the whole file, and a run may
 * take longer than a frame of the screen. Close it to free the runtime's memory.
 */
public class Model private constructor(
    private val bundle: BundleReader,
    public val manifest: Manifest,
    public val artifact: Artifact,
    public val info: ModelInfo,
    private val program: Program,
) : AutoCloseable {
    private val lock = ReentrantLock()
    private var closed = false

    /**
     * Run the model once.
     *
     * @param inputs a tensor for each input, by name, with the type and shape that [Artifact.inputs] say
     * @param cancelled asked before and after the run; a run itself is not interrupted
     * @return a tensor for each output, by name; it stays valid after the next run
     * @throws ModelError.WrongInput where a tensor is missing, unknown, or of another type or shape
     * @throws ModelError.RuntimeFailure where the runtime fails
     * @throws ModelError.Cancelled where [cancelled] said true
     * @throws ModelError.Closed after [close]
     */
    public fun run(inputs: Map<String, Tensor>, cancelled: () -> Boolean = { false }): Map<String, Tensor> {
        checkInputs(artifact.inputs, inputs)
        return lock.withLock {
            if (closed) throw ModelError.Closed()
            if (cancelled()) throw ModelError.Cancelled()
            val outputs = guarded("running ${artifact.name}") { program.run(inputs) }
            if (cancelled()) throw ModelError.Cancelled()
            val missing = artifact.outputs.map { it.name } - outputs.keys
            if (missing.isNotEmpty()) {
                val found = IllegalStateException("found the outputs ${outputs.keys}, expected $missing too")
                throw ModelError.RuntimeFailure("running ${artifact.name}", found)
            }
            outputs
        }
    }

    /** Run the model [times] times with zeros, so that the first real call is as fast as others. Throws as [run]. */
    public fun warmUp(times: Int = 3) {
        val inputs = artifact.inputs.associate { port ->
            port.name to Tensor.zeros(port.dtype, port.shape.map { if (it == VARIES) 1 else it })
        }
        repeat(times) { run(inputs) }
    }

    /**
     * Run the golden inputs of the bundle and compare the outputs with those of the exporting machine.
     *
     * Call it once on each new kind of device, not at each start: it runs the model once for each golden sample.
     *
     * @throws ModelError.ChangedFile where a golden file is not the exported one
     */
    public fun selfTest(): SelfTest = selfTest(decide = null, frames = emptyList())

    internal fun selfTest(
        decide: ((Map<String, Tensor>) -> Int)?,
        frames: List<FrameCheck>,
        routesWrong: Int = 0,
    ): SelfTest = GoldenTest(bundle, this).run(decide, frames, routesWrong)

    /** Free the runtime's memory. A call that is running ends first; later calls throw [ModelError.Closed]. */
    override fun close(): Unit = lock.withLock {
        if (!closed) program.close()
        closed = true
    }

    public companion object {
        /**
         * Check the bundle and open one of its artifacts.
         *
         * The manifest is checked first, by its signature where [ModelOptions.publicKey] is given. Then the artifact
         * is: its SHA-256, and the runtime's version. Golden files are checked when [selfTest] reads them.
         *
         * @param runtimes the runtimes of the app, `Generated.RUNTIMES`
         * @throws ModelError of the kind that says what is wrong
         */
        public fun load(
            bundle: BundleReader,
            options: ModelOptions = ModelOptions(),
            runtimes: List<ModelRuntime> = Generated.RUNTIMES,
        ): Model {
            if (options.threads < 1) throw ModelError.WrongInput("found ${options.threads} threads, expected 1 or more")
            val manifest = readManifest(bundle, options)
            val (artifact, runtime) = choose(manifest, options.artifact, runtimes)
            val version = guarded("starting ${runtime.name}") { runtime.version }
            checkVersion(runtime, artifact)
            bundle.check(artifact.name, artifact.sha256)
            val program = guarded("opening ${artifact.name}") { runtime.open(bundle, artifact, options) }
            val info = ModelInfo(artifact.name, "${runtime.name} $version", program.delegate)
            return Model(bundle, manifest, artifact, info, program)
        }
    }
}

private fun readManifest(bundle: BundleReader, options: ModelOptions): Manifest {
    val bytes = bundle.open(MANIFEST_FILE).use { it.readBytes() }
    options.publicKey?.let { checkSignature(bundle, bytes, it, options.verifier) }
    options.manifestSha256?.let { expected ->
        val found = hex(MessageDigest.getInstance("SHA-256").digest(bytes))
        if (found != expected) throw ModelError.ChangedFile(MANIFEST_FILE, found, expected)
    }
    return parseManifest(bytes)
}

private fun choose(manifest: Manifest, name: String?, runtimes: List<ModelRuntime>): Pair<Artifact, ModelRuntime> {
    val names = if (name == null) manifest.order else listOf(name)
    for (candidate in names) {
        val artifact = manifest.artifacts[candidate]
            ?: throw ModelError.NoRuntime("found no artifact $candidate, expected one of ${manifest.artifacts.keys}")
        runtimes.find { artifact.format in it.formats }?.let { return artifact to it }
    }
    val formats = names.map { "$it (${manifest.artifacts.getValue(it).format})" }
    throw ModelError.NoRuntime(
        "found the artifacts $formats, but the app has runtimes for ${runtimes.flatMap { it.formats }}: " +
            "add a runtime to build.gradle.kts and to Generated.kt",
    )
}

private fun checkInputs(ports: List<Port>, inputs: Map<String, Tensor>) {
    val names = ports.map { it.name }
    if (inputs.keys != names.toSet()) {
        throw ModelError.WrongInput("found the inputs ${inputs.keys}, expected $names: give a tensor for each, by name")
    }
    for (port in ports) {
        val tensor = inputs.getValue(port.name)
        val fits = tensor.shape.size == port.shape.size &&
            tensor.shape.zip(port.shape).all { (found, expected) -> expected == VARIES || found == expected }
        if (tensor.dtype != port.dtype || !fits) {
            throw ModelError.WrongInput("found $tensor for the input ${port.name}, expected $port")
        }
    }
}

/** Calls [block] of a runtime; its exceptions become [ModelError.RuntimeFailure]. */
private inline fun <T> guarded(doing: String, block: () -> T): T =
    try {
        block()
    } catch (error: ModelError) {
        throw error
    } catch (error: Exception) {
        throw ModelError.RuntimeFailure(doing, error)
    } catch (error: LinkageError) {
        // The native library is missing in the app, or is not for this device.
        throw ModelError.RuntimeFailure(doing, error)
    }
