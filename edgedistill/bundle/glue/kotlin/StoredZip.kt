package edgedistill.glue

import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.io.RandomAccessFile
import java.nio.ByteBuffer
import java.nio.ByteOrder

private const val END = 0x06054b50
private const val CENTRAL = 0x02014b50
private const val LOCAL = 0x04034b50
private const val END_BYTES = 22
private const val CENTRAL_BYTES = 46
private const val LOCAL_BYTES = 30
private const val MOST_DIRECTORY = 16 shl 20
private const val PLAIN = 0x8
private const val FOLDER = 0x4

private class StoredFile(val path: String, val start: Long, val size: Long)

/**
 * Unpack [archive] into [folder]: a .zip whose files are stored as they are, as edgedistill writes it.
 *
 * All entries are looked at before the first file is written. Compressed files, links, paths that leave the folder, and
 * entries that share bytes, by which a small archive fills a disk, are refused.
 *
 * @throws UpdateError where the archive is damaged, or holds something else
 */
internal fun unpackStoredZip(archive: File, folder: File) {
    try {
        RandomAccessFile(archive, "r").use { from ->
            for (file in storedFiles(from)) copy(from, file, File(folder, file.path))
        }
    } catch (error: IOException) {
        throw UpdateError("the downloaded bundle can't be unpacked (${error.message}); do not use it", error)
    }
}

private fun copy(from: RandomAccessFile, file: StoredFile, target: File) {
    val parent = target.parentFile
    if (parent != null && !parent.isDirectory && !parent.mkdirs()) throw IOException("cannot make the folder $parent")
    from.seek(file.start)
    FileOutputStream(target).use { to ->
        val piece = ByteArray(1 shl 16)
        var left = file.size
        while (left > 0) {
            val count = minOf(left, piece.size.toLong()).toInt()
            from.readFully(piece, 0, count)
            to.write(piece, 0, count)
            left -= count
        }
        // The swap must not reach the disk before the files.
        to.fd.sync()
    }
}

private fun storedFiles(from: RandomAccessFile): List<StoredFile> {
    val (offset, directory) = directory(from)
    val files = ArrayList<StoredFile>()
    while (directory.remaining() > 0) {
        if (directory.remaining() < CENTRAL_BYTES || directory.int(0) != CENTRAL) throw damaged()
        val name = directory.short(28)
        val whole = CENTRAL_BYTES + name + directory.short(30) + directory.short(32)
        if (directory.remaining() < whole) throw damaged()
        val path = String(directory.array(), directory.position() + CENTRAL_BYTES, name, Charsets.UTF_8)
        if (!path.endsWith("/")) {
            checkEntry(path, directory)
            val size = directory.long(24)
            val start = start(from, directory.long(42))
            if (start + size > offset) throw damaged()
            files += StoredFile(path, start, size)
        }
        directory.position(directory.position() + whole)
    }
    if (files.sumOf { it.size } > offset) throw UpdateError("the downloaded bundle would fill the disk; do not use it")
    val twice = files.groupBy { it.path }.values.find { it.size > 1 }
    if (twice != null) throw UpdateError("the downloaded bundle has ${twice[0].path} twice; do not use it")
    return files
}

/** Where the list of entries begins, and its bytes. */
private fun directory(from: RandomAccessFile): Pair<Long, ByteBuffer> {
    val length = from.length()
    val tail = bytes(from, maxOf(0, length - END_BYTES - 0xffff), minOf(length, END_BYTES + 0xffffL).toInt())
    val place = (tail.limit() - END_BYTES downTo 0).find {
        tail.getInt(it) == END && it + END_BYTES + (tail.getShort(it + 20).toInt() and 0xffff) == tail.limit()
    } ?: throw damaged()
    tail.position(place)
    val size = tail.long(12)
    val offset = tail.long(16)
    if (size > MOST_DIRECTORY || offset + size > length - tail.limit() + place) throw damaged()
    return offset to bytes(from, offset, size.toInt())
}

private fun checkEntry(path: String, entry: ByteBuffer) {
    try {
        checkPath(path)
    } catch (error: ModelError.UnsafePath) {
        throw UpdateError("the path '$path' is not allowed in a bundle; do not use it", error)
    }
    val kind = (entry.long(38) ushr 28).toInt()
    if (kind != 0 && kind != PLAIN && kind != FOLDER) {
        throw UpdateError("$path is a link or no plain file, which a bundle must not have; do not use it")
    }
    val encrypted = entry.short(8) and 1 != 0
    if (entry.short(10) != 0 || encrypted || entry.long(20) != entry.long(24)) {
        throw UpdateError("$path is compressed, expected a stored file: publish the .zip of edgedistill bundle")
    }
}

/** Where the bytes of the file begin whose own header is at [header]. */
private fun start(from: RandomAccessFile, header: Long): Long {
    if (header + LOCAL_BYTES > from.length()) throw damaged()
    val local = bytes(from, header, LOCAL_BYTES)
    if (local.int(0) != LOCAL) throw damaged()
    return header + LOCAL_BYTES + local.short(26) + local.short(28)
}

private fun bytes(from: RandomAccessFile, start: Long, count: Int): ByteBuffer {
    val bytes = ByteArray(count)
    from.seek(start)
    from.readFully(bytes)
    return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN)
}

private fun damaged() = IOException("it is damaged, or no .zip of less than 4 GiB")

private fun ByteBuffer.int(at: Int): Int = getInt(position() + at)

private fun ByteBuffer.long(at: Int): Long = int(at).toLong() and 0xffffffffL

private fun ByteBuffer.short(at: Int): Int = getShort(position() + at).toInt() and 0xffff
