package edgedistill.glue

import org.json.JSONArray
import org.json.JSONException
import org.json.JSONObject

/** Gives a text's tokens, as the model was trained on them. It may be called by several threads at once. */
public fun interface TextTokenizer {
    /** The numbers of the tokens of [text], with those in front and behind; as many as the model takes at most. */
    public fun tokens(text: String): IntArray
}

/** Makes a tokenizer of a `tokenizer.json`. [readTokenizer] does it for the kinds that it knows. */
public fun interface TokenizerReader {
    /** @param length most tokens of a text; longer texts are cut, but what ends each text stays */
    public fun read(file: ByteArray, length: Int): TextTokenizer
}

/** The tokenizer of the bundle is of a kind that this code does not know. */
public class UnknownTokenizer internal constructor(found: String) : ModelError(
    "found $found in tokenizer.json, expected WordPiece as of BERT, or byte-level BPE as of RoBERTa: " +
        "give load() a TokenizerReader of your own, for example one that calls DJL's HuggingFaceTokenizer",
)

/**
 * The tokenizer of [file], a `tokenizer.json` of Hugging Face: WordPiece with BERT's reading of texts (bert,
 * distilbert, electra, mpnet, MiniLM), or byte-level BPE (roberta).
 *
 * @throws UnknownTokenizer for any other kind
 * @throws ModelError.DamagedManifest where the file is damaged
 */
public fun readTokenizer(file: ByteArray, length: Int): TextTokenizer = reading {
    val document = JSONObject(String(file, Charsets.UTF_8))
    val model = document.getJSONObject("model")
    val kind = model.optString("type").ifEmpty { if (model.has("merges")) "BPE" else "WordPiece" }
    val words: WordReader = when (kind) {
        "WordPiece" -> BertWords(document, vocabularyOf(model))
        "BPE" -> BytePairs(document, vocabularyOf(model))
        else -> throw UnknownTokenizer("the model $kind")
    }
    val (front, behind) = endsOf(document.optJSONObject("post_processor"))
    if (front.size + behind.size >= length) {
        throw ModelError.DamagedManifest("found the length $length, expected more than what ends each text")
    }
    val added = AddedTokens(document.optJSONArray("added_tokens") ?: JSONArray(), words)
    FileTokenizer(added, words, front, behind, length)
}

private fun vocabularyOf(model: JSONObject): Map<String, Int> =
    model.getJSONObject("vocab").mapValues { all, key -> all.getInt(key) }

/** How one kind of tokenizer reads what is between special tokens. */
internal interface WordReader {
    /** [text] without what the tokenizer does not see. */
    fun normalized(text: String): String

    /** Add the tokens of a normalized text to [tokens]. */
    fun read(text: String, tokens: MutableList<Int>)
}

private class FileTokenizer(
    private val added: AddedTokens,
    private val words: WordReader,
    private val front: List<Int>,
    private val behind: List<Int>,
    private val length: Int,
) : TextTokenizer {
    override fun tokens(text: String): IntArray {
        val tokens = ArrayList<Int>(length)
        added.split(text) { part, token -> if (token != null) tokens.add(token) else words.read(part, tokens) }
        return (front + tokens.take(length - front.size - behind.size) + behind).toIntArray()
    }
}

/** The tokens in front of a text and behind it. */
private fun endsOf(processor: JSONObject?): Pair<List<Int>, List<Int>> =
    when (val kind = processor?.getString("type")) {
        null, "ByteLevel" -> Pair(emptyList(), emptyList())
        "TemplateProcessing" -> templateOf(processor)
        "BertProcessing", "RobertaProcessing" ->
            Pair(listOf(processor.getJSONArray("cls").getInt(1)), listOf(processor.getJSONArray("sep").getInt(1)))
        "Sequence" -> {
            val steps = processor.getJSONArray("processors").map { all, i -> endsOf(all.getJSONObject(i)) }
            val adding = steps.filter { (front, behind) -> front.isNotEmpty() || behind.isNotEmpty() }
            if (adding.size > 1) throw UnknownTokenizer("several post_processors that add tokens")
            adding.firstOrNull() ?: Pair(emptyList(), emptyList())
        }
        else -> throw UnknownTokenizer("the post_processor $kind")
    }

private fun templateOf(processor: JSONObject): Pair<List<Int>, List<Int>> {
    val special = processor.getJSONObject("special_tokens")
    val parts = processor.getJSONArray("single").map { all, i -> all.getJSONObject(i) }
    val place = parts.indexOfFirst { it.has("Sequence") }
    if (place < 0) throw JSONException("the post_processor has no place for the text")
    val ids = { part: JSONObject ->
        val token = part.getJSONObject("SpecialToken").getString("id")
        special.getJSONObject(token).getJSONArray("ids").map { all, i -> all.getInt(i) }
    }
    return Pair(parts.take(place).flatMap(ids), parts.drop(place + 1).flatMap(ids))
}
