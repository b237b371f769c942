package edgedistill.glue

/**
 * A model that gives a text its embedding.
 *
 * ```
 * val model = EmbeddingModel.load(AssetBundle(context, "sentences-model"))
 * println(model.embed("What is the weather?").similarity(model.embed("Will it rain?")))
 * ```
 *
 * Calls from several threads wait for each other. Load and embed off the main thread.
 *
 * @property model the same model with named tensors
 * @property dimensions how many numbers an embedding has
 */
public class EmbeddingModel private constructor(
    private val reader: TextReader,
    private val output: String,
    public val dimensions: Int,
) : AutoCloseable {
    public val model: Model get() = reader.model

    /** Artifact, runtime and delegate. */
    public val info: ModelInfo get() = model.info

    /**
     * The embedding of [text]. A text that is longer than the model takes is cut.
     *
     * @param cancelled asked before the text is read, and before and after the run
     * @throws ModelError.RuntimeFailure where the runtime fails
     * @throws ModelError.Cancelled where [cancelled] said true
     * @throws ModelError.Closed after [close]
     */
    public fun embed(text: String, cancelled: () -> Boolean = { false }): Embedding {
        val values = reader.run(text, cancelled).getValue(output).toDoubles()
        return Embedding(FloatArray(values.size) { values[it].toFloat() })
    }

    /** The numbers of the tokens of [text], as the model sees them. */
    public fun tokens(text: String): IntArray = reader.tokens(text)

    /** Run the model [times] times with zeros, so that the first text is as fast as the others. */
    public fun warmUp(times: Int = 3): Unit = model.warmUp(times)

    /**
     * Tokenize the golden texts and run the golden inputs of the bundle, and compare with training and export.
     *
     * Call it once on each new kind of device, not at each start.
     */
    public fun selfTest(): TextSelfTest = reader.selfTest(decide = null)

    /** Free the runtime's memory. A call that is running ends first. */
    override fun close(): Unit = model.close()

    public companion object {
        /**
         * Check the bundle and open one of its artifacts, as [Model.load] does it.
         *
         * @param tokenizers reads the tokenizer of the bundle
         */
        public fun load(
            bundle: BundleReader,
            options: ModelOptions = ModelOptions(),
            runtimes: List<ModelRuntime> = Generated.RUNTIMES,
            tokenizers: TokenizerReader = TokenizerReader(::readTokenizer),
        ): EmbeddingModel = loaded(Model.load(bundle, options, runtimes)) { model -> of(bundle, model, tokenizers) }

        private fun of(bundle: BundleReader, model: Model, tokenizers: TokenizerReader): EmbeddingModel = reading {
            val outputs = model.manifest.document.getJSONObject("preprocessing").getJSONObject("outputs")
            val port = model.artifact.outputs.find { it.meaning == "embedding" }
                ?: throw ModelError.DamagedManifest("has no embedding among the outputs of ${model.artifact.name}")
            val similarity = outputs.getJSONObject(port.name).getString("similarity")
            if (similarity != "cosine") {
                throw ModelError.DamagedManifest("found the similarity $similarity, expected cosine")
            }
            EmbeddingModel(TextReader.of(bundle, model, tokenizers), port.name, port.shape.last())
        }
    }
}

/**
 * [EmbeddingModel.embed] off the main thread. A cancelled coroutine stops between the steps and throws
 * [kotlinx.coroutines.CancellationException].
 */
public suspend fun EmbeddingModel.embedAsync(text: String): Embedding =
    offMainThread { cancelled -> embed(text, cancelled) }
