package edgedistill.glue

import org.json.JSONArray
import org.json.JSONObject

/** Reads texts as GPT-2 and RoBERTa do: bytes of words, of which the pairs that were learned first become one token. */
internal class BytePairs(document: JSONObject, private val vocabulary: Map<String, Int>) : WordReader {
    private class Merge(val rank: Int, val token: Int)

    private val merges: Map<Long, Merge>
    private val prefixed: Boolean

    init {
        if (!document.isNull("normalizer")) throw UnknownTokenizer("BPE with a normalizer")
        val splitter = document.optJSONObject("pre_tokenizer")
        val model = document.getJSONObject("model")
        if (splitter?.getString("type") != "ByteLevel" || !splitter.optBoolean("use_regex", true)) {
            throw UnknownTokenizer("BPE with the pre_tokenizer ${splitter?.opt("type")}")
        }
        for (key in OPTIONS) {
            val value = model.opt(key) ?: JSONObject.NULL
            if (value !in listOf(JSONObject.NULL, "", false)) throw UnknownTokenizer("BPE with $key")
        }
        prefixed = splitter.optBoolean("add_prefix_space", true)
        val pairs = model.getJSONArray("merges").map { all, i -> pairOf(all, i) }
        merges = pairs.withIndex().associate { (rank, pair) ->
            val (left, right) = pair
            key(token(left), token(right)) to Merge(rank, token(left + right))
        }
    }

    override fun normalized(text: String): String = text

    override fun read(text: String, tokens: MutableList<Int>) {
        val given = if (prefixed && !text.startsWith(" ")) " $text" else text
        for (word in WORDS.findAll(given)) tokens.addAll(merged(word.value))
    }

    private fun merged(word: String): List<Int> {
        var tokens = word.toByteArray().map { token(BYTES[it.toInt() and 0xff]) }
        while (tokens.size > 1) {
            val pairs = tokens.zipWithNext { left, right -> merges[key(left, right)] }
            val best = pairs.filterNotNull().minByOrNull { it.rank } ?: break
            val next = ArrayList<Int>(tokens.size)
            for (token in tokens) {
                val merge = next.lastOrNull()?.let { merges[key(it, token)] }
                if (merge === best) next[next.lastIndex] = merge.token else next.add(token)
            }
            tokens = next
        }
        return tokens
    }

    private fun token(text: String): Int =
        vocabulary[text] ?: throw ModelError.DamagedManifest("tokenizer.json has no token $text")
}

private fun pairOf(merges: JSONArray, index: Int): List<String> {
    val entry = merges.get(index)
    return if (entry is JSONArray) listOf(entry.getString(0), entry.getString(1)) else "$entry".split(' ', limit = 2)
}

private fun key(left: Int, right: Int): Long = (left.toLong() shl 32) or right.toLong()

/** Options of a model of other kinds, which have to be off. */
private val OPTIONS =
    listOf("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges")

private const val BLANKS =
    "\\u0009-\\u000D\\u0020\\u0085\\u00A0\\u1680\\u2000-\\u200A\\u2028\\u2029\\u202F\\u205F\\u3000"

/** GPT-2's words; blanks are listed, since `\s` means other characters on Android than on a JVM. */
private val WORDS = Regex(
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^$BLANKS\\p{L}\\p{N}]+|[$BLANKS]+(?![^$BLANKS])|[$BLANKS]+",
)

/** The character that stands for each byte: those that can be seen for themselves, others from 256 on. */
private val BYTES: List<String> = run {
    val seen = (0x21..0x7E) + (0xA1..0xAC) + (0xAE..0xFF)
    var other = 256
    List(256) { byte -> (if (byte in seen) byte else other++).toChar().toString() }
}
