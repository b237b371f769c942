package edgedistill.glue

/** A runtime for tests: a model file is a `.npy` table; a run gives the mean of the rows of the tokens in the mask. */
public class MeanRuntime : ModelRuntime {
    override val formats: Set<String> = setOf("mean")
    override val name: String = "mean-runtime"
    override val version: String = "1.0"

    override fun open(bundle: BundleReader, artifact: Artifact, options: ModelOptions): Program {
        val view = bundle.map(artifact.name)
        return MeanProgram(readNpy(ByteArray(view.remaining()).also { view.get(it) }, artifact.name), artifact)
    }
}

/** How many programs are open. */
public var opened: Int = 0

private class MeanProgram(table: Tensor, private val artifact: Artifact) : Program {
    override val delegate: String = "plain"
    private val rows = table.toDoubles()
    private val columns = table.shape[1]

    init {
        opened++
    }

    override fun run(inputs: Map<String, Tensor>): Map<String, Tensor> {
        val tokens = inputs.getValue("input_ids").toDoubles()
        val mask = inputs.getValue("attention_mask").toDoubles()
        val sums = DoubleArray(columns)
        for (i in tokens.indices) for (c in 0 until columns) sums[c] += mask[i] * rows[tokens[i].toInt() * columns + c]
        val values = FloatArray(columns) { (sums[it] / mask.sum()).toFloat() }
        return mapOf(artifact.outputs.single().name to Tensor.of(values, 1, columns))
    }

    override fun close() {
        opened--
    }
}
