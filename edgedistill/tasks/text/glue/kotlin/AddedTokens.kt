package edgedistill.glue

import org.json.JSONArray
import org.json.JSONObject

/** Tokens such as `[MASK]` that are found in a text before it is divided into words. */
internal class AddedTokens(entries: JSONArray, private val words: WordReader) {
    private class Added(entry: JSONObject, text: String) {
        val id = entry.getInt("id")
        val text = text
        val alone = entry.optBoolean("single_word")
        val takesBlanksBefore = entry.optBoolean("lstrip")
        val takesBlanksBehind = entry.optBoolean("rstrip")
    }

    /** Found in the text as it is. */
    private val plain: List<Added>

    /** Found in the normalized text. */
    private val normalized: List<Added>

    init {
        val (later, first) = entries.map { all, i -> all.getJSONObject(i) }.partition { it.optBoolean("normalized") }
        plain = first.map { Added(it, it.getString("content")) }
        normalized = later.map { Added(it, words.normalized(it.getString("content"))) }
    }

    /** Call [take] with each part of [text]: a normalized text, or a token. */
    fun split(text: String, take: (part: String, token: Int?) -> Unit) {
        splitAt(plain, text) { part, token ->
            if (token != null) take(part, token) else splitAt(normalized, words.normalized(part), take)
        }
    }

    private fun splitAt(added: List<Added>, text: String, take: (part: String, token: Int?) -> Unit) {
        var from = 0
        var at = 0
        while (at < text.length) {
            // Of those that begin here the longest, as everywhere.
            val here = added.filter { it.text.isNotEmpty() && text.startsWith(it.text, at) }
            val found = here.maxByOrNull { it.text.length }
            if (found == null) {
                at++
                continue
            }
            var start = at
            var stop = at + found.text.length
            at = stop
            if (found.alone && (endsWord(text, start) || beginsWord(text, stop))) continue
            if (found.takesBlanksBefore) while (start > from && isBlank(text[start - 1].code)) start--
            if (found.takesBlanksBehind) while (stop < text.length && isBlank(text[stop].code)) stop++
            if (start > from) take(text.substring(from, start), null)
            take(found.text, found.id)
            from = stop
            at = stop
        }
        if (from < text.length) take(text.substring(from), null)
    }

    private fun endsWord(text: String, end: Int) = end > 0 && isOfWord(text.codePointBefore(end))

    private fun beginsWord(text: String, start: Int) = start < text.length && isOfWord(text.codePointAt(start))

    private fun isOfWord(char: Int) = Character.isLetterOrDigit(char) || char == '_'.code
}

/** Whether [char] has Unicode's property White_Space; Java's own functions leave out some. */
internal fun isBlank(char: Int): Boolean = when (char) {
    in 0x09..0x0D, 0x20, 0x85, 0xA0, 0x1680, in 0x2000..0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000 -> true
    else -> false
}

/** The code points of a text, one after the other. */
internal inline fun String.forEachCodePoint(each: (Int) -> Unit) {
    var at = 0
    while (at < length) {
        val char = codePointAt(at)
        each(char)
        at += Character.charCount(char)
    }
}
