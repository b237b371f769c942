package edgedistill.glue

import android.content.Context
import java.io.File
import java.io.FileInputStream
import java.io.FileNotFoundException
import java.io.IOException
import java.io.InputStream
import java.nio.ByteBuffer
import java.nio.channels.FileChannel

/**
 * A bundle in the assets of the app.
 *
 * A runtime maps a file straight from the APK where the app leaves it uncompressed, by `androidResources.noCompress` in
 * the app's build.gradle.kts; otherwise the file is read into memory. For a runtime that opens only files, the file is
 * copied once to storage that is not backed up.
 *
 * @param context any context of the app
 * @param folder of the bundle within the assets
 */
public class AssetBundle(context: Context, private val folder: String) : BundleReader {
    private val assets = context.assets
    private val copies = File(context.noBackupFilesDir, "edgedistill/$folder")

    override val name: String get() = "assets/$folder"

    override fun open(path: String): InputStream {
        checkPath(path)
        return try {
            assets.open("$folder/$path")
        } catch (error: FileNotFoundException) {
            throw ModelError.MissingFile(path, name, error)
        }
    }

    override fun map(path: String): ByteBuffer {
        checkPath(path)
        return try {
            assets.openFd("$folder/$path").use { asset ->
                FileInputStream(asset.fileDescriptor).channel
                    .map(FileChannel.MapMode.READ_ONLY, asset.startOffset, asset.declaredLength)
            }
        } catch (_: FileNotFoundException) {
            // Either it is compressed, or it is not there, which `open` finds out.
            val bytes = open(path).use { it.readBytes() }
            allocate(bytes.size.toLong()).apply { put(bytes).rewind() }
        }
    }

    override fun file(path: String, sha256: String): File {
        val ending = "-${path.replace('/', '-')}"
        val copy = File(copies, sha256 + ending)
        if (copy.isFile && isWhole(copy, path, sha256)) return copy
        if (!copies.isDirectory && !copies.mkdirs()) throw IOException("cannot make the folder $copies")
        val partial = File.createTempFile("partial", null, copies)
        try {
            open(path).use { from -> partial.outputStream().use { from.copyTo(it) } }
            if (!partial.renameTo(copy)) throw IOException("cannot rename $partial to $copy")
            // Copies of older versions of this file.
            copies.listFiles { file -> file.name.endsWith(ending) && file != copy }?.forEach { it.delete() }
        } finally {
            partial.delete()
        }
        return copy
    }

    /** Whether an earlier [copy] has its bytes still. */
    private fun isWhole(copy: File, path: String, sha256: String): Boolean =
        try {
            check(path, sha256, copy.inputStream())
            true
        } catch (_: ModelError.ChangedFile) {
            false
        }
}
