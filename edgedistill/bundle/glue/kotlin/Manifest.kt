package edgedistill.glue

import org.json.JSONArray
import org.json.JSONException
import org.json.JSONObject

/** The schema of the manifests that this code reads. */
public const val MANIFEST_SCHEMA: String = "edgedistill/manifest/3"

internal const val MANIFEST_FILE = "manifest.json"
private val SCHEMA = Regex("edgedistill/manifest/(\\d{1,9})")

/** A size that varies, in the shape of a [Port]. */
public const val VARIES: Int = -1

/**
 * What is in a bundle, as `manifest.json` says it.
 *
 * @property name of the model
 * @property task what the model does
 * @property artifacts the model files, each by its name
 * @property order names of the artifacts, the one to prefer first
 * @property files SHA-256 of each file of the bundle, by path
 * @property document the whole manifest, for what only one task knows
 */
public class Manifest internal constructor(
    public val name: String,
    public val task: String,
    public val artifacts: Map<String, Artifact>,
    public val order: List<String>,
    public val files: Map<String, String>,
    internal val document: JSONObject,
)

/**
 * One model file.
 *
 * @property name its path in the bundle
 * @property format what it is written for
 * @property precision of its arithmetic, such as `int8`
 * @property delegate what it was made for, or null
 * @property sha256 of its bytes
 * @property input the kind of its first input, such as `float32-nchw`
 * @property minimumRuntime oldest version of a runtime that opens it, by the runtime's package
 */
public class Artifact internal constructor(
    public val name: String,
    public val format: String,
    public val precision: String,
    public val delegate: String?,
    public val sha256: String,
    public val input: String,
    public val inputs: List<Port>,
    public val outputs: List<Port>,
    public val minimumRuntime: Map<String, String>,
    internal val golden: Golden,
)

/**
 * An input or output of a model file.
 *
 * @property shape sizes; [VARIES] where a size is free
 * @property range least and greatest number that the model expects, or null for any
 */
public class Port internal constructor(
    public val name: String,
    public val dtype: DType,
    public val shape: List<Int>,
    public val meaning: String,
    public val layout: String?,
    public val range: ClosedFloatingPointRange<Double>?,
) {
    override fun toString(): String = "$dtype${shape.map { if (it == VARIES) "any" else it }}"
}

/** A file of the bundle with its SHA-256. */
internal class CheckedFile(val path: String, val sha256: String)

/** [count] inputs and what the model file gave for them; [outputs] is null where nothing could run it. */
internal class Golden(
    val count: Int,
    val inputs: Map<String, CheckedFile>,
    val outputs: Map<String, CheckedFile>?,
    val tolerance: Map<String, Double>,
)

/**
 * The manifest that [bytes] are.
 *
 * @throws ModelError.DamagedManifest where an entry is missing or of another type
 * @throws ModelError.NewerManifest where its schema is newer than [MANIFEST_SCHEMA]
 * @throws ModelError.OtherManifest where it has another schema
 * @throws ModelError.UnsafePath where a path leads out of the bundle
 */
internal fun parseManifest(bytes: ByteArray): Manifest = reading {
    val document = JSONObject(String(bytes, Charsets.UTF_8))
    checkSchema(document)
    val files = document.getJSONObject("files").mapValues { all, key -> all.getString(key) }
    files.keys.forEach(::checkPath)
    val artifacts = document.getJSONArray("artifacts").map { all, i -> artifact(all.getJSONObject(i)) }
    Manifest(
        name = document.getString("name"),
        task = document.getString("task"),
        artifacts = artifacts.associateBy { it.name },
        order = document.getJSONObject("ship").getJSONArray("order").map { all, i -> all.getString(i) },
        files = files,
        document = document,
    )
}

/** Calls [block] on a part of the manifest; what it lacks becomes [ModelError.DamagedManifest]. */
internal inline fun <T> reading(block: () -> T): T =
    try {
        block()
    } catch (error: JSONException) {
        throw ModelError.DamagedManifest(error.message ?: "is no JSON", error)
    } catch (error: StackOverflowError) {
        throw ModelError.DamagedManifest("is nested too deeply", error)
    }

/** The text at [key], or null where the manifest has null. */
internal fun JSONObject.textOrNull(key: String): String? = if (isNull(key)) null else getString(key)

internal inline fun <T> JSONArray.map(value: (JSONArray, Int) -> T): List<T> = List(length()) { value(this, it) }

internal inline fun <T> JSONObject.mapValues(value: (JSONObject, String) -> T): Map<String, T> =
    keys().asSequence().associateWith { value(this, it) }

private fun checkSchema(document: JSONObject) {
    val found = document.optString("schema").ifEmpty { "a document without a schema" }
    if (found == MANIFEST_SCHEMA) return
    val version = SCHEMA.matchEntire(found)?.groupValues?.get(1)?.toInt()
    val own = MANIFEST_SCHEMA.substringAfterLast('/').toInt()
    if (version != null && version > own) throw ModelError.NewerManifest(found)
    throw ModelError.OtherManifest(found)
}

private fun artifact(entry: JSONObject): Artifact {
    val signature = entry.getJSONObject("signature")
    val golden = entry.getJSONObject("golden")
    return Artifact(
        name = entry.getString("name").also(::checkPath),
        format = entry.getString("format"),
        precision = entry.getString("precision"),
        delegate = entry.textOrNull("delegate"),
        sha256 = entry.getString("sha256"),
        input = entry.getString("input"),
        inputs = signature.getJSONArray("inputs").map { all, i -> port(all.getJSONObject(i)) },
        outputs = signature.getJSONArray("outputs").map { all, i -> port(all.getJSONObject(i)) },
        minimumRuntime = entry.getJSONObject("minimum_runtime").mapValues { all, key -> all.getString(key) },
        golden = Golden(
            count = golden.getInt("count"),
            inputs = checkedFiles(golden.getJSONObject("inputs")),
            outputs = if (golden.isNull("outputs")) null else checkedFiles(golden.getJSONObject("outputs")),
            tolerance = golden.getJSONObject("tolerance").mapValues { all, key -> all.getDouble(key) },
        ),
    )
}

private fun port(entry: JSONObject): Port {
    val type = entry.getString("dtype")
    val range = if (entry.isNull("range")) null else entry.getJSONArray("range")
    return Port(
        name = entry.getString("name"),
        dtype = DType.of(type) ?: throw ModelError.DamagedManifest("found the type $type, expected ${DType.entries}"),
        shape = entry.getJSONArray("shape").map { all, i -> if (all.get(i) is Number) all.getInt(i) else VARIES },
        meaning = entry.getString("meaning"),
        layout = entry.textOrNull("layout"),
        range = range?.let { it.getDouble(0)..it.getDouble(1) },
    )
}

private fun checkedFiles(entries: JSONObject): Map<String, CheckedFile> = entries.mapValues { all, key ->
    val entry = all.getJSONObject(key)
    CheckedFile(entry.getString("path").also(::checkPath), entry.getString("sha256"))
}
