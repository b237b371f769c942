package edgedistill.glue

import java.util.concurrent.atomic.AtomicBoolean

/**
 * A runtime for tests: a model file is a `.npy` matrix `[inputs, outputs]`, a run multiplies its only input by it.
 *
 * Delegates: `plain`, the default.
 */
public class MatrixRuntime(override val version: String) : ModelRuntime {
    override val formats: Set<String> = setOf("matrix")
    override val name: String = "matrix-runtime"

    override fun open(bundle: BundleReader, artifact: Artifact, options: ModelOptions): Program {
        if (options.delegate !in setOf(null, "plain")) {
            throw ModelError.WrongInput("found the delegate ${options.delegate}, expected plain")
        }
        val view = bundle.map(artifact.name)
        val bytes = ByteArray(view.remaining()).also { view.get(it) }
        val matrix = readNpy(bytes, artifact.name)
        check(bundle.file(artifact.name, artifact.sha256).length() == bytes.size.toLong()) { "file and map differ" }
        return MatrixProgram(matrix, artifact)
    }
}

private class MatrixProgram(private val matrix: Tensor, private val artifact: Artifact) : Program {
    override val delegate: String = "plain"
    private val weights = matrix.toDoubles()

    private val busy = AtomicBoolean()

    override fun run(inputs: Map<String, Tensor>): Map<String, Tensor> {
        check(busy.compareAndSet(false, true)) { "two runs at once" }
        try {
            // Long enough for another thread to come.
            Thread.sleep(1)
            return multiply(inputs)
        } finally {
            busy.set(false)
        }
    }

    private fun multiply(inputs: Map<String, Tensor>): Map<String, Tensor> {
        val input = inputs.values.single().toDoubles()
        val outputs = matrix.shape[1]
        val sums = DoubleArray(outputs)
        for (i in input.indices) for (o in 0 until outputs) sums[o] += input[i] * weights[i * outputs + o]
        val values = FloatArray(outputs) { sums[it].toFloat() }
        return mapOf(artifact.outputs.single().name to Tensor.of(values, 1, outputs))
    }

    override fun close(): Unit = Unit
}

/** A runtime for tests whose programs fail when they run. */
public class BrokenRuntime : ModelRuntime {
    override val formats: Set<String> = setOf("broken")
    override val name: String = "broken-runtime"
    override val version: String = "1.0"

    override fun open(bundle: BundleReader, artifact: Artifact, options: ModelOptions): Program = object : Program {
        override val delegate: String = "unknown: it never ran"

        override fun run(inputs: Map<String, Tensor>): Map<String, Tensor> =
            throw IllegalStateException("out of memory")

        override fun close(): Unit = Unit
    }
}
