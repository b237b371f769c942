package edgedistill.glue

import java.io.File
import java.io.FileInputStream
import java.io.FileNotFoundException
import java.io.InputStream
import java.nio.ByteBuffer
import java.nio.channels.FileChannel
import java.nio.file.Files
import java.security.MessageDigest

/** Where the files of a bundle come from. [FolderBundle] reads a folder; `AssetBundle` reads an app's assets. */
public interface BundleReader {
    /** What messages call this bundle. */
    public val name: String

    /**
     * The bytes of the file at [path]; the caller closes the stream.
     *
     * @throws ModelError.MissingFile where it is not there
     * @throws ModelError.UnsafePath where it is not inside the bundle
     */
    public fun open(path: String): InputStream

    /** The bytes of the file at [path] in direct memory; a memory map where that is possible. Throws as [open]. */
    public fun map(path: String): ByteBuffer

    /**
     * The file at [path] as a file of this device, for runtimes that open no memory. Throws as [open].
     *
     * @param sha256 of the file, by which a copy is known again
     */
    public fun file(path: String, sha256: String): File
}

/** A bundle in a folder of this device, for example one that the app downloaded. No file in it may be a link. */
public class FolderBundle(private val folder: File) : BundleReader {
    override val name: String get() = folder.path

    override fun open(path: String): InputStream = opened(path)

    override fun map(path: String): ByteBuffer =
        opened(path).channel.use { it.map(FileChannel.MapMode.READ_ONLY, 0, it.size()) }

    override fun file(path: String, sha256: String): File = inside(path)

    private fun opened(path: String): FileInputStream =
        try {
            FileInputStream(inside(path))
        } catch (error: FileNotFoundException) {
            // It is there, but the app may not read it.
            throw ModelError.MissingFile(path, name, error)
        }

    private fun inside(path: String): File {
        checkPath(path)
        var file = folder
        for (part in path.split('/')) {
            file = File(file, part)
            if (Files.isSymbolicLink(file.toPath())) throw ModelError.UnsafePath(path, "leads to a link")
        }
        if (!file.isFile) throw ModelError.MissingFile(path, name)
        return file
    }
}

/** Throws [ModelError.UnsafePath] unless [path] is relative, with `/` between parts that lead nowhere else. */
internal fun checkPath(path: String) {
    when {
        path.startsWith("/") || path.contains('\\') || path.contains(':') ->
            throw ModelError.UnsafePath(path, "is absolute or not written with /")
        path.split('/').any { it == ".." } -> throw ModelError.UnsafePath(path, "has ..")
        path.split('/').any { it.isEmpty() || it == "." } || path.contains('\u0000') ->
            throw ModelError.UnsafePath(path, "has an empty part")
    }
}

/** The whole file at [path], after a check that it has [sha256]. */
internal fun BundleReader.checked(path: String, sha256: String): ByteArray {
    val bytes = open(path).use { it.readBytes() }
    compare(path, hex(MessageDigest.getInstance("SHA-256").digest(bytes)), sha256)
    return bytes
}

/** Throws [ModelError.ChangedFile] unless the file at [path] has [sha256]; reads it in pieces. */
internal fun BundleReader.check(path: String, sha256: String): Unit = check(path, sha256, open(path))

/** The same for [stream], the bytes of [path], which it closes. */
internal fun check(path: String, sha256: String, stream: InputStream) {
    val digest = MessageDigest.getInstance("SHA-256")
    stream.use {
        val piece = ByteArray(1 shl 16)
        while (true) {
            val read = it.read(piece)
            if (read < 0) break
            digest.update(piece, 0, read)
        }
    }
    compare(path, hex(digest.digest()), sha256)
}

private fun compare(path: String, found: String, expected: String) {
    if (found != expected) throw ModelError.ChangedFile(path, found, expected)
}

/** [bytes] as hexadecimal digits. */
internal fun hex(bytes: ByteArray): String = bytes.joinToString("") { "%02x".format(it) }
