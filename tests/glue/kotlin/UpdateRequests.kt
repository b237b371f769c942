package edgedistill.glue

import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.cancel
import kotlinx.coroutines.runBlocking
import org.json.JSONObject
import java.io.File
import java.io.IOException

/** What an app with an updater does, as test_updates_languages.py asks for it. */
internal fun update(request: JSONObject): Any {
    val key = request.textOrNull("key")
    val updater = Updater(
        folder = File(request.getString("folder")),
        url = request.getString("url"),
        installation = request.optString("installation", "phone"),
        appVersion = request.optString("version", "0"),
        publicKey = key?.chunked(2)?.map { it.toInt(16).toByte() }?.toByteArray(),
        patcher = request.textOrNull("patched")?.let { path -> patcher(File(path)) },
    )
    return when (val step = request.getString("step")) {
        "share" -> shareOf(request.getString("installation"), request.getInt("number"))
        "current" -> updater.current?.name?.let { File(it).name } ?: JSONObject.NULL
        "check" -> updater.check()?.let(::told) ?: JSONObject.NULL
        "install" -> install(updater)
        "refuse" -> install(refusing(request))
        "cancelled" -> cancelled(updater)
        else -> throw IllegalArgumentException("found the step $step")
    }
}

private fun told(update: Update) = JSONObject().put("number", update.number).put("bytes", update.bytes)
    .put("goes_back", update.goesBack)

private fun install(updater: Updater): JSONObject {
    var last = listOf(0L, 0L)
    val place = updater.install(updater.check()!!) { done, total -> last = listOf(done, total) }
    check(place.name == updater.current?.name) { "found another folder than the current one" }
    return JSONObject().put("installed", File(place.name).name).put("done", last[0]).put("total", last[1])
}

private fun refusing(request: JSONObject) =
    Updater(File(request.getString("folder")), request.getString("url"), "phone", accept = { false })

/** Gives the bytes of [whole] as those of any release; fails where there is no such file. */
private fun patcher(whole: File) = DeltaPatcher { old, delta, new, bytes ->
    if (!whole.isFile) throw IOException("no zstd")
    check(old.isFile && delta.length() > 0 && bytes > 0) { "the files are not there" }
    new.writeBytes(whole.readBytes())
}

/** How a coroutine ends that is cancelled when the first bytes came, and what is there after another call. */
private fun cancelled(updater: Updater): String = runBlocking {
    val update = checkNotNull(updater.checkAsync())
    val call = async(Dispatchers.Default) { updater.installAsync(update) { _, _ -> cancel() } }
    val end = try {
        call.await()
        "result"
    } catch (_: CancellationException) {
        "cancelled"
    }
    "$end, then ${File(updater.installAsync(update).name).name}"
}
