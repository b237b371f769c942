package edgedistill.glue

import org.json.JSONObject

/**
 * What a self-test of a model of texts found.
 *
 * @property outputs how far the outputs are from the golden ones
 * @property texts golden texts of the bundle that have other tokens here than in training
 */
public class TextSelfTest internal constructor(public val outputs: SelfTest, public val texts: List<String>) {
    /** Whether all outputs and tokens are as expected. */
    public val ok: Boolean get() = outputs.ok && texts.isEmpty()

    /** The result as a few lines of text, for a log or a support message. */
    public fun describe(): String {
        val wrong = texts.map { "text '${it.take(40)}': FAILED, it has other tokens than in training" }
        return (listOf(outputs.describe()) + wrong).joinToString("\n")
    }
}

/** Runs a [model] whose inputs are the tokens of a text and their mask. */
internal class TextReader(
    val model: Model,
    private val tokenizer: TextTokenizer,
    private val tokens: String,
    private val mask: String,
    private val buckets: List<Int>,
    private val padding: Int,
    private val unknown: Int?,
) {
    private val length = buckets.last()

    /** The outputs for [text], by name. */
    fun run(text: String, cancelled: () -> Boolean): Map<String, Tensor> {
        if (cancelled()) throw ModelError.Cancelled()
        return model.run(tensors(text), cancelled)
    }

    fun tokens(text: String): IntArray {
        val found = tokenizer.tokens(text)
        if (found.size > length) {
            throw ModelError.WrongInput("found ${found.size} tokens, expected at most $length: let the tokenizer cut")
        }
        return found
    }

    /** How many [tokens] there are, and what share of them is unknown, where the tokenizer has a token for that. */
    fun features(tokens: IntArray): Map<String, Double> = buildMap {
        put("tokens", tokens.size.toDouble())
        if (unknown != null) put("unknown", tokens.count { it == unknown }.toDouble() / maxOf(1, tokens.size))
    }

    fun selfTest(routesWrong: Int = 0, decide: ((Map<String, Tensor>) -> Int)?): TextSelfTest =
        TextSelfTest(model.selfTest(decide, frames = emptyList(), routesWrong), reading { others() })

    /** The tokens of [text] and their mask, filled up to the smallest bucket that holds them. */
    private fun tensors(text: String): Map<String, Tensor> {
        val found = tokens(text)
        val size = buckets.first { it >= found.size }
        return mapOf(
            tokens to ints(size) { found.getOrElse(it) { padding } },
            mask to ints(size) { if (it < found.size) 1 else 0 },
        )
    }

    private inline fun ints(size: Int, value: (Int) -> Int): Tensor {
        val memory = allocate(4L * size)
        for (i in 0 until size) memory.putInt(4 * i, value(i))
        return Tensor(DType.INT32, listOf(1, size), memory)
    }

    private fun others(): List<String> {
        val golden = model.manifest.document.optJSONArray("golden_texts") ?: return emptyList()
        return golden.map { all, i -> all.getJSONObject(i) }
            .filter { entry ->
                val expected = entry.getJSONArray("tokens").map { all, i -> all.getInt(i) }
                tokens(entry.getString("text")).toList() != expected
            }
            .map { it.getString("text") }
    }

    companion object {
        /** Reads how the artifact of [model] takes texts. */
        fun of(bundle: BundleReader, model: Model, tokenizers: TokenizerReader): TextReader = reading {
            val inputs = model.manifest.document.getJSONObject("preprocessing").getJSONObject("inputs")
            val tokens = ofKind(inputs, "text")
            val mask = ofKind(inputs, "mask")
            val facts = inputs.getJSONObject(tokens)
            val known = facts.optJSONArray("buckets")?.map { all, i -> all.getInt(i) } ?: listOf(facts.getInt("length"))
            for (name in listOf(tokens, mask)) {
                val port = model.artifact.inputs.find { it.name == name }
                val fits = port != null && (known + VARIES).any { port.shape == listOf(1, it) }
                if (port?.dtype != DType.INT32 || !fits) {
                    val expected = "int32[1, ${known.joinToString(" or ")}]"
                    throw ModelError.DamagedManifest("found the input $name as $port, expected $expected")
                }
            }
            // A file of one size fills up each text to it.
            val size = model.artifact.inputs.first { it.name == tokens }.shape[1]
            val buckets = if (size == VARIES) known else listOf(size)
            val path = facts.getString("tokenizer")
            val sha256 = model.manifest.files[path] ?: throw ModelError.DamagedManifest("has no SHA-256 of $path")
            val tokenizer = tokenizers.read(bundle.checked(path, sha256), buckets.last())
            val unknown = if (facts.has("unknown")) facts.getInt("unknown") else null
            TextReader(model, tokenizer, tokens, mask, buckets, facts.getInt("padding"), unknown)
        }

        private fun ofKind(inputs: JSONObject, kind: String): String =
            inputs.keys().asSequence().find { inputs.getJSONObject(it).optString("kind") == kind }
                ?: throw ModelError.DamagedManifest("has no input of the kind $kind")
    }
}

/** [make] of the model that is loaded; the model is closed where that fails. */
internal fun <T> loaded(model: Model, make: (Model) -> T): T =
    try {
        make(model)
    } catch (error: ModelError) {
        model.close()
        throw error
    }
