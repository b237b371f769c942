package edgedistill.glue

import org.json.JSONException
import org.json.JSONObject
import java.nio.ByteBuffer
import java.security.MessageDigest

private const val UPDATES_SCHEMA = "edgedistill/updates/1"
private val SHA256 = Regex("[0-9a-f]{64}")

/** `index.json` of a repository. */
internal class UpdatesIndex(val serial: Long, val releases: List<Release>)

/** A bundle that was published, as the index says it. */
internal class Release(
    val number: Int,
    val archive: RemoteFile,
    val percent: Double,
    val minimumApp: String?,
    val withdrawn: Boolean,
    val deltas: List<Delta>,
) {
    /** Whether it is for this [installation] of an app of this version. */
    fun fits(installation: String, appVersion: String): Boolean =
        !withdrawn && (minimumApp == null || !isOlder(appVersion, minimumApp)) &&
            shareOf(installation, number) < percent
}

/** What makes the .zip of a release of the older one whose SHA-256 is [base]. */
internal class Delta(val base: String, val file: RemoteFile)

/** A file of the repository. */
internal class RemoteFile(val path: String, val sha256: String, val bytes: Long)

/**
 * Where an installation stands among all for a release, 0 to 100: a release for 10 percent comes to those below 10.
 *
 * @param number of the release
 */
public fun shareOf(installation: String, number: Int): Double {
    val digest = MessageDigest.getInstance("SHA-256").digest("$installation:$number".toByteArray())
    return 100 * (ByteBuffer.wrap(digest).int.toLong() and 0xffffffffL) / 4294967296.0
}

/** The index that [bytes] of [name] are; throws [UpdateError] for anything else. */
internal fun parseIndex(bytes: ByteArray, name: String): UpdatesIndex =
    try {
        val document = JSONObject(String(bytes, Charsets.UTF_8))
        val found = document.getString("schema")
        if (found != UPDATES_SCHEMA) {
            throw UpdateError("found ${found.take(100)}, this code reads $UPDATES_SCHEMA: update the app")
        }
        UpdatesIndex(
            document.getLong("serial"),
            document.getJSONArray("releases").map { all, i -> release(all.getJSONObject(i)) },
        )
    } catch (error: JSONException) {
        throw UpdateError("$name is damaged (${error.message}); try again later", error)
    } catch (error: StackOverflowError) {
        throw UpdateError("$name is damaged (nested too deeply); try again later", error)
    }

private fun release(entry: JSONObject): Release {
    val deltas = entry.optJSONArray("deltas")?.map { all, i -> all.getJSONObject(i) }.orEmpty()
    return Release(
        number = positive(entry, "number").toInt(),
        archive = remoteFile(entry),
        percent = entry.getDouble("percent"),
        minimumApp = entry.textOrNull("minimum_app"),
        withdrawn = entry.optBoolean("withdrawn"),
        deltas = deltas.map { Delta(sha256(it, "base"), remoteFile(it)) },
    )
}

private fun remoteFile(entry: JSONObject) =
    RemoteFile(entry.getString("file"), sha256(entry, "sha256"), positive(entry, "bytes"))

private fun positive(entry: JSONObject, key: String): Long {
    val number = entry.getLong(key)
    if (number < 1) throw JSONException("found $number as $key, expected 1 or more")
    return number
}

/** The hash at [key]. It becomes the name of a file, so nothing else may be there. */
private fun sha256(entry: JSONObject, key: String): String {
    val text = entry.getString(key)
    if (!SHA256.matches(text)) throw JSONException("found '${text.take(70)}' as $key, expected a SHA-256")
    return text
}
