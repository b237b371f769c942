package edgedistill.glue

import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.io.InputStream
import java.net.HttpURLConnection
import java.net.URL
import java.nio.file.Files
import java.nio.file.StandardCopyOption.ATOMIC_MOVE
import java.nio.file.StandardCopyOption.REPLACE_EXISTING

private const val MOST_INDEX = 4 shl 20
private const val TIMEOUT_MS = 30_000

/** Reads files of the repository at [url]. */
internal class UpdateServer(url: String) {
    private val url = url.trimEnd('/')

    /** What messages call the file at [path]. */
    fun name(path: String): String = "$url/$path"

    /** The bytes of a small file; throws [UpdateError] where it can't be had. */
    fun read(path: String): ByteArray {
        val bytes = try {
            answer(path, 0) { it.inputStream.use { stream -> stream.most(MOST_INDEX + 1) } }
        } catch (error: IOException) {
            throw UpdateError("${name(path)} can't be read (${reason(error)}); try again later", error)
        }
        if (bytes.size <= MOST_INDEX) return bytes
        throw UpdateError("${name(path)} has more than $MOST_INDEX bytes; try again later")
    }

    /** Download [remote] into [file], from where an earlier download of it ended. Throws [UpdateError]. */
    fun download(remote: RemoteFile, file: File, cancelled: () -> Boolean, progress: (Long, Long) -> Unit) {
        if (file.isFile && has(file, remote.sha256)) return
        val partial = File(file.parentFile, "${remote.sha256}.part")
        if (partial.length() > remote.bytes) partial.delete()
        val start = partial.length()
        try {
            if (start < remote.bytes) {
                answer(remote.path, start) { append(it, partial, remote.bytes, cancelled, progress) }
            }
        } catch (error: IOException) {
            val found = "${name(remote.path)} can't be read (${reason(error)})"
            throw UpdateError("$found; call install again to go on", error)
        }
        if (partial.length() < remote.bytes) {
            val found = "${name(remote.path)} ended after ${partial.length()} of ${remote.bytes} bytes"
            throw UpdateError("$found; call install again to go on")
        }
        try {
            check(remote.path, remote.sha256, partial.inputStream())
        } catch (error: ModelError.ChangedFile) {
            partial.delete()
            val expected = "the file with the SHA-256 ${remote.sha256.take(12)}"
            throw UpdateError("${name(remote.path)} was changed or damaged, expected $expected; try again later", error)
        }
        Files.move(partial.toPath(), file.toPath(), ATOMIC_MOVE, REPLACE_EXISTING)
    }

    private fun append(
        connection: HttpURLConnection,
        partial: File,
        bytes: Long,
        cancelled: () -> Boolean,
        progress: (Long, Long) -> Unit,
    ) {
        // A server that knows no ranges sends the whole file.
        val goesOn = connection.responseCode == HttpURLConnection.HTTP_PARTIAL
        var done = if (goesOn) partial.length() else 0
        connection.inputStream.use { from ->
            FileOutputStream(partial, goesOn).use { to ->
                val piece = ByteArray(1 shl 16)
                while (done <= bytes) {
                    if (cancelled()) throw ModelError.Cancelled()
                    val count = from.read(piece)
                    if (count < 0) break
                    to.write(piece, 0, count)
                    done += count
                    progress(minOf(done, bytes), bytes)
                }
                to.fd.sync()
            }
        }
    }

    /** Calls [use] with the answer for the file at [path] from the byte [start] on. */
    private fun <T> answer(path: String, start: Long, use: (HttpURLConnection) -> T): T {
        val connection = URL(name(path)).openConnection() as? HttpURLConnection
            ?: throw IOException("expected a URL with https://")
        try {
            connection.connectTimeout = TIMEOUT_MS
            connection.readTimeout = TIMEOUT_MS
            connection.useCaches = false
            // Android asks for gzip otherwise, of which no part can be asked for.
            connection.setRequestProperty("Accept-Encoding", "identity")
            if (start > 0) connection.setRequestProperty("Range", "bytes=$start-")
            val code = connection.responseCode
            if (code !in 200..299) throw IOException("the server answers $code ${connection.responseMessage}")
            return use(connection)
        } finally {
            connection.disconnect()
        }
    }
}

private fun has(file: File, sha256: String): Boolean =
    try {
        check(file.name, sha256, file.inputStream())
        true
    } catch (_: ModelError.ChangedFile) {
        false
    }

private fun reason(error: IOException) = error.message ?: error.javaClass.simpleName

/** The first [count] bytes, or all where there are fewer. */
private fun InputStream.most(count: Int): ByteArray {
    val bytes = ByteArray(count)
    var size = 0
    while (size < count) {
        val read = read(bytes, size, count - size)
        if (read < 0) break
        size += read
    }
    return bytes.copyOf(size)
}
