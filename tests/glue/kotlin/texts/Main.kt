package edgedistill.glue

import kotlinx.coroutines.runBlocking
import org.json.JSONArray
import org.json.JSONObject
import java.io.File

/**
 * Reads requests from standard input, a JSON document a line, and answers each with one.
 *
 * `{"do": "embed", "bundle": FOLDER, ...}` gives `{"answer": ...}`, or `{"error": CLASS, "message": TEXT}`; `open` is
 * how many programs were left open.
 */
public fun main() {
    for (line in generateSequence(::readLine)) {
        val answer = try {
            JSONObject().put("answer", answer(JSONObject(line)))
        } catch (error: ModelError) {
            JSONObject().put("error", error.javaClass.simpleName).put("message", error.message)
        } catch (error: Exception) {
            JSONObject().put("error", "unexpected").put("message", error.stackTraceToString())
        }
        println(answer.put("open", opened))
    }
}

private fun answer(request: JSONObject): Any = when (val name = request.getString("do")) {
    "tokens" -> tokens(request)
    "labels", "cut" -> {
        val own = TokenizerReader { _, length -> TextTokenizer { IntArray(length + request.getInt("more")) } }
        val tokenizers = if (name == "cut") own else TokenizerReader(::readTokenizer)
        TextModel.load(bundle(request), tokenizers = tokenizers).use { labels(it, request) }
    }
    "embeddings" -> EmbeddingModel.load(bundle(request)).use { embeddings(it, request) }
    else -> throw IllegalArgumentException("found the request $name")
}

private fun bundle(request: JSONObject) = FolderBundle(File(request.getString("bundle")))

private fun texts(request: JSONObject) = request.getJSONArray("texts").map { all, i -> all.getString(i) }

/** Which texts of the corpus have other tokens than expected. */
private fun tokens(request: JSONObject): JSONObject {
    val tokenizer = readTokenizer(File(request.getString("tokenizer")).readBytes(), request.getInt("length"))
    val golden = JSONArray(File(request.getString("golden")).readText()).map { all, i -> all.getJSONObject(i) }
    val wrong = golden.filter { entry ->
        tokenizer.tokens(entry.getString("text")).toList() != entry.getJSONArray("tokens").map { all, i -> all.getInt(i) }
    }
    return JSONObject().put("texts", golden.size).put("wrong", JSONArray(wrong.map { it.getString("text") }))
}

private fun labels(model: TextModel, request: JSONObject): JSONObject {
    val found = texts(request).map { model.predict(it) }
    val late = runBlocking { texts(request).map { model.predictAsync(it).top.label } }
    val test = model.selfTest()
    return JSONObject().put("labels", JSONArray(found.map { it.top.label })).put("late", JSONArray(late))
        .put("probabilities", JSONArray(found.map { JSONArray(it.probabilities.toList()) }))
        .put("features", JSONArray(found.map { JSONObject(it.features) }))
        .put("ok", test.ok).put("describe", test.describe()).put("changed", test.outputs.decisionsChanged)
        .put("errors", errors(model) { text, cancelled -> model.predict(text, cancelled) })
}

private fun embeddings(model: EmbeddingModel, request: JSONObject): JSONObject {
    val found = texts(request).map { model.embed(it) }
    val late = runBlocking { texts(request).map { model.embedAsync(it) } }
    val test = model.selfTest()
    val zeros = Embedding(FloatArray(model.dimensions))
    val errors = errors(model) { text, cancelled -> model.embed(text, cancelled) }
    return JSONObject().put("embeddings", JSONArray(found.map { JSONArray(it.values.toList()) }))
        .put("similarities", JSONArray(found.map { found.first().similarity(it) }))
        .put("late", JSONArray(late.zip(found) { a, b -> a.values.contentEquals(b.values) }))
        .put("zero", found.first().similarity(zeros)).put("dimensions", model.dimensions)
        .put("ok", test.ok).put("describe", test.describe())
        .put("errors", errors.put("sizes", caught { zeros.similarity(Embedding(FloatArray(2))) }))
}

private fun errors(model: AutoCloseable, call: (String, () -> Boolean) -> Unit): JSONObject {
    val cancelled = caught { call("apple") { true } }
    model.close()
    return JSONObject().put("cancelled", cancelled).put("closed", caught { call("apple") { false } })
}

private fun caught(call: () -> Unit): String =
    try {
        call()
        "none"
    } catch (error: ModelError) {
        "${error.javaClass.simpleName}: ${error.message}"
    }
