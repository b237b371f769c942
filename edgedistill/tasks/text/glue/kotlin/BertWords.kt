package edgedistill.glue

import org.json.JSONObject
import java.text.Normalizer
import java.util.Locale

/** Reads texts as BERT does: words and marks, then the longest pieces of each word that the vocabulary has. */
internal class BertWords(document: JSONObject, private val vocabulary: Map<String, Int>) : WordReader {
    private val cleans: Boolean
    private val parts: Boolean
    private val lowers: Boolean
    private val strips: Boolean
    private val unknown: Int
    private val prefix: String
    private val longest: Int

    init {
        val normalizer = document.optJSONObject("normalizer")
        val kinds = listOf("normalizer" to normalizer, "pre_tokenizer" to document.optJSONObject("pre_tokenizer"))
        for ((key, step) in kinds) {
            val expected = if (key == "normalizer") "BertNormalizer" else "BertPreTokenizer"
            val found = step?.getString("type")
            if (found != expected) throw UnknownTokenizer("WordPiece with the $key $found")
        }
        val model = document.getJSONObject("model")
        cleans = normalizer!!.optBoolean("clean_text", true)
        parts = normalizer.optBoolean("handle_chinese_chars", true)
        lowers = normalizer.optBoolean("lowercase", true)
        strips = if (normalizer.isNull("strip_accents")) lowers else normalizer.getBoolean("strip_accents")
        prefix = model.optString("continuing_subword_prefix", "##")
        longest = model.optInt("max_input_chars_per_word", 100)
        unknown = model.optString("unk_token", "[UNK]").let {
            vocabulary[it] ?: throw ModelError.DamagedManifest("tokenizer.json has no token $it")
        }
    }

    override fun normalized(text: String): String {
        val cleaned = StringBuilder(text.length)
        text.forEachCodePoint { char ->
            when {
                cleans && (char == 0 || char == 0xFFFD || isControl(char)) -> Unit
                cleans && isBlank(char) -> cleaned.append(' ')
                parts && isIdeograph(char) -> cleaned.append(' ').appendCodePoint(char).append(' ')
                else -> cleaned.appendCodePoint(char)
            }
        }
        val plain = if (strips) withoutAccents(cleaned) else cleaned.toString()
        return if (lowers) lowered(plain) else plain
    }

    override fun read(text: String, tokens: MutableList<Int>) {
        var start = -1
        var at = 0
        while (at < text.length) {
            val char = text.codePointAt(at)
            val next = at + Character.charCount(char)
            val mark = isMark(char)
            if (mark || isBlank(char)) {
                if (start >= 0) readWord(text.substring(start, at), tokens)
                start = -1
                if (mark) readWord(text.substring(at, next), tokens)
            } else if (start < 0) {
                start = at
            }
            at = next
        }
        if (start >= 0) readWord(text.substring(start), tokens)
    }

    private fun readWord(word: String, tokens: MutableList<Int>) {
        val pieces = if (word.codePointCount(0, word.length) > longest) null else piecesOf(word)
        if (pieces == null) tokens.add(unknown) else tokens.addAll(pieces)
    }

    /** The longest pieces from left to right; null where a part of the word is in no piece. */
    private fun piecesOf(word: String): List<Int>? {
        val pieces = ArrayList<Int>()
        var start = 0
        while (start < word.length) {
            var end = word.length
            var found: Int? = null
            while (end > start) {
                val piece = word.substring(start, end)
                found = vocabulary[if (start > 0) prefix + piece else piece]
                if (found != null) break
                end = word.offsetByCodePoints(end, -1)
            }
            pieces.add(found ?: return null)
            start = end
        }
        return pieces
    }
}

private fun withoutAccents(text: CharSequence): String {
    val plain = StringBuilder(text.length)
    Normalizer.normalize(text, Normalizer.Form.NFD).forEachCodePoint { char ->
        if (Character.getType(char) != Character.NON_SPACING_MARK.toInt()) plain.appendCodePoint(char)
    }
    return plain.toString()
}

/** Each character by itself: a whole text would get another sigma at the end of a Greek word. */
private fun lowered(text: String): String {
    val lower = StringBuilder(text.length)
    text.forEachCodePoint { lower.append(String(Character.toChars(it)).lowercase(Locale.ROOT)) }
    return lower.toString()
}

private fun isControl(char: Int): Boolean = when (Character.getType(char).toByte()) {
    Character.CONTROL -> char != 0x09 && char != 0x0A && char != 0x0D
    Character.FORMAT, Character.PRIVATE_USE, Character.SURROGATE -> true
    else -> false
}

private fun isMark(char: Int): Boolean = when (Character.getType(char).toByte()) {
    Character.CONNECTOR_PUNCTUATION, Character.DASH_PUNCTUATION, Character.START_PUNCTUATION,
    Character.END_PUNCTUATION, Character.INITIAL_QUOTE_PUNCTUATION, Character.FINAL_QUOTE_PUNCTUATION,
    Character.OTHER_PUNCTUATION,
    -> true
    else -> char in 0x21..0x2F || char in 0x3A..0x40 || char in 0x5B..0x60 || char in 0x7B..0x7E
}

/** The ideographs that BERT takes for words of their own. */
private fun isIdeograph(char: Int): Boolean = when (char) {
    in 0x4E00..0x9FFF, in 0x3400..0x4DBF, in 0x20000..0x2A6DF, in 0x2A700..0x2B73F, in 0x2B740..0x2B81F,
    in 0x2B920..0x2CEAF, in 0xF900..0xFAFF, in 0x2F800..0x2FA1F,
    -> true
    else -> false
}
