package edgedistill.glue

/**
 * A model that gives a text its label.
 *
 * ```
 * val model = TextModel.load(AssetBundle(context, "intents-model"))
 * println(model.predict("What is the weather?").top)
 * ```
 *
 * Calls from several threads wait for each other. Load and predict off the main thread.
 *
 * @property model the same model with named tensors
 * @property labels in the order of the model's scores
 * @property router says which answers the teacher has to give instead
 */
public class TextModel private constructor(
    private val reader: TextReader,
    private val scores: Scores,
    public val router: Router,
) : AutoCloseable {
    public val model: Model get() = reader.model
    public val labels: List<String> get() = scores.labels

    /** Artifact, runtime and delegate. */
    public val info: ModelInfo get() = model.info

    /**
     * The probabilities of the labels of [text]. A text that is longer than the model takes is cut.
     *
     * @param cancelled asked before the text is read, and before and after the run
     * @throws ModelError.RuntimeFailure where the runtime fails
     * @throws ModelError.Cancelled where [cancelled] said true
     * @throws ModelError.Closed after [close]
     */
    public fun predict(text: String, cancelled: () -> Boolean = { false }): Prediction {
        val logits = reader.run(text, cancelled).getValue(scores.output).toDoubles()
        return Prediction(labels, softmax(logits), reader.features(tokens(text)))
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
    public fun selfTest(): TextSelfTest =
        reader.selfTest(router.wrongRows()) { largest(it.getValue(scores.output).toDoubles()) }

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
        ): TextModel = loaded(Model.load(bundle, options, runtimes)) { model ->
            val reader = TextReader.of(bundle, model, tokenizers)
            TextModel(reader, Scores.of(model), Router.of(model, reader.features(IntArray(0)).keys))
        }
    }
}

/**
 * [TextModel.predict] off the main thread. A cancelled coroutine stops between the steps and throws
 * [kotlinx.coroutines.CancellationException].
 */
public suspend fun TextModel.predictAsync(text: String): Prediction =
    offMainThread { cancelled -> predict(text, cancelled) }
