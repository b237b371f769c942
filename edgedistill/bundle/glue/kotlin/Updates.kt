package edgedistill.glue

import org.json.JSONException
import org.json.JSONObject
import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.nio.file.Files
import java.nio.file.StandardCopyOption.ATOMIC_MOVE
import java.nio.file.StandardCopyOption.REPLACE_EXISTING
import java.security.GeneralSecurityException
import java.security.NoSuchAlgorithmException
import java.util.concurrent.locks.ReentrantLock
import kotlin.concurrent.withLock

private const val STATE_FILE = "state.json"
private val RELEASE = Regex("release-(\\d+)")
private val DOWNLOADS = setOf("zip", "part", "zst", "delta")

/** An update failed. The bundle that was there stays. */
public class UpdateError(message: String, cause: Throwable? = null) : ModelError(message, cause)

/**
 * A release that this installation should have.
 *
 * @property number of the release
 * @property bytes of its .zip
 * @property goesBack whether it is older than what is installed, which was withdrawn
 */
public class Update internal constructor(
    public val number: Int,
    public val bytes: Long,
    public val goesBack: Boolean,
    internal val release: Release,
    internal val serial: Long,
)

/** Makes a file of an older one and their difference, by a library of zstd. */
public fun interface DeltaPatcher {
    /**
     * Write [new] as `zstd -d --patch-from=old --long=31 delta -o new` does. Its hash is compared afterwards.
     *
     * @param bytes that [new] will have
     * @throws IOException where that is not possible; then the whole file is downloaded
     */
    public fun patch(old: File, delta: File, new: File, bytes: Long)
}

/**
 * Keeps the bundle in a folder up to date, from a repository that `edgedistill publish` wrote.
 *
 * Nothing here runs by itself: the app calls [check] and [install] when it suits, off the main thread, for example once
 * a day in a worker that waits for Wi-Fi. The app needs the permission INTERNET.
 *
 * @param folder belongs to the updater, for example `File(context.noBackupFilesDir, "model")`
 * @param url of the repository
 * @param installation a random text that stays the same; it decides when a staged release comes here
 * @param appVersion version of the app, such as 3.2
 * @param publicKey 32 bytes of an Ed25519 key; with it the index has to be signed
 * @param verifier checks the signature, as in [ModelOptions]
 * @param patcher makes a release of the one before, so that less is downloaded; the last .zip is kept for it. Without
 * one the whole .zip is downloaded
 * @param accept asked whether a new bundle is good before it is swapped in, for example by its self-test. By default
 * every file is compared with its hash
 */
public class Updater(
    private val folder: File,
    url: String,
    private val installation: String,
    private val appVersion: String = "0",
    private val publicKey: ByteArray? = null,
    private val verifier: SignatureVerifier = platformEd25519,
    private val patcher: DeltaPatcher? = null,
    private val accept: (FolderBundle) -> Boolean = ::hasItsHashes,
) {
    private val server = UpdateServer(url)
    private val lock = ReentrantLock()

    init {
        if (!folder.isDirectory && !folder.mkdirs()) throw UpdateError("cannot make the folder $folder")
    }

    /** The installed bundle; null before the first one, when the app takes the one that it ships. */
    public val current: FolderBundle? get() = place(readState().number)?.let { FolderBundle(it) }

    /**
     * The release that this installation should have; null where it has it. Changes nothing.
     *
     * @throws UpdateError where the index can't be had, is not signed by the key, or is older than one that was seen
     */
    public fun check(): Update? {
        val index = index()
        val state = readState()
        if (index.serial < state.serial) {
            val found = "found an index with the serial ${index.serial}, expected ${state.serial} or more"
            throw UpdateError("$found: the server has an old copy; try again later")
        }
        val fitting = index.releases.filter { it.fits(installation, appVersion) }
        val wanted = fitting.maxByOrNull { it.number } ?: return null
        val installed = state.number
        if (installed != null && place(installed) != null) {
            // A release that is no longer in the index counts as withdrawn.
            val withdrawn = index.releases.find { it.number == installed }?.withdrawn ?: true
            if (wanted.number == installed || (wanted.number < installed && !withdrawn)) return null
        }
        val goesBack = installed != null && wanted.number < installed
        return Update(wanted.number, wanted.archive.bytes, goesBack, wanted, index.serial)
    }

    /**
     * Download a release, prove it, and swap it in.
     *
     * A download that was interrupted goes on where it ended. Until the last step the bundle before counts, and it
     * stays on the disk as the last good one.
     *
     * @param cancelled asked during the download
     * @param progress told the bytes that are there, and those of all
     * @return the installed bundle
     * @throws UpdateError where the download, a hash or `accept` failed; call again, later
     * @throws ModelError.Cancelled where [cancelled] said true
     */
    public fun install(
        update: Update,
        cancelled: () -> Boolean = { false },
        progress: (done: Long, total: Long) -> Unit = { _, _ -> },
    ): FolderBundle = lock.withLock {
        val archive = File(folder, "${update.release.archive.sha256}.zip")
        val new = File(folder, "release-${update.number}")
        val unpacked = File(folder, ".unpacked-${update.number}")
        try {
            if (!fromDelta(update.release, archive, cancelled, progress)) {
                server.download(update.release.archive, archive, cancelled, progress)
            }
            unpacked.deleteRecursively()
            unpackStoredZip(archive, unpacked)
            if (!accept(FolderBundle(unpacked))) {
                throw UpdateError("release ${update.number} failed its test on this device; the old one stays")
            }
            val before = readState().number
            if (new != place(before)) {
                new.deleteRecursively()
                Files.move(unpacked.toPath(), new.toPath(), ATOMIC_MOVE)
            }
            // This is the swap: before it the old bundle counts, behind it the new one.
            writeState(State(update.number, archive.name.takeIf { patcher != null }, before, update.serial))
            tidy(setOf(update.number, before), archive)
        } catch (error: IOException) {
            val found = "release ${update.number} can't be written (${error.message})"
            throw UpdateError("$found; make room, and call install again", error)
        } finally {
            unpacked.deleteRecursively()
        }
        FolderBundle(new)
    }

    private fun place(number: Int?): File? =
        number?.let { File(folder, "release-$it") }?.takeIf { File(it, MANIFEST_FILE).isFile }

    private fun index(): UpdatesIndex {
        val bytes = server.read("index.json")
        if (publicKey != null) checkIndex(bytes, server.read("index.sig"), publicKey)
        return parseIndex(bytes, server.name("index.json"))
    }

    private fun checkIndex(bytes: ByteArray, signature: ByteArray, key: ByteArray) {
        val valid = try {
            key.size == 32 && signature.size == 64 && verifier.verify(key, bytes, signature)
        } catch (error: NoSuchAlgorithmException) {
            throw UpdateError("this device has no Ed25519: give Updater a verifier of a library, such as Tink", error)
        } catch (_: GeneralSecurityException) {
            false
        }
        if (valid) return
        val found = "${server.name("index.sig")} is not the signature of index.json by this key"
        throw UpdateError("$found; nothing was changed, try again later")
    }

    /** Make the .zip of a release of the installed one; false where that can't be done. */
    private fun fromDelta(
        release: Release,
        archive: File,
        cancelled: () -> Boolean,
        progress: (Long, Long) -> Unit,
    ): Boolean {
        val old = File(folder, readState().archive ?: return false)
        val delta = release.deltas.find { "${it.base}.zip" == old.name }
        if (patcher == null || delta == null || archive.exists() || !old.isFile) return false
        val packed = File(folder, "${delta.file.sha256}.zst")
        val made = File(folder, "${release.archive.sha256}.delta")
        server.download(delta.file, packed, cancelled, progress)
        try {
            patcher.patch(old, packed, made, release.archive.bytes)
            check(made.name, release.archive.sha256, made.inputStream())
            Files.move(made.toPath(), archive.toPath(), ATOMIC_MOVE, REPLACE_EXISTING)
        } catch (_: IOException) {
            return false
        } catch (_: ModelError.ChangedFile) {
            // The installed .zip was damaged: the whole new one does not need it.
            return false
        } finally {
            packed.delete()
            made.delete()
        }
        return true
    }

    private class State(val number: Int?, val archive: String?, val previous: Int?, val serial: Long)

    private fun readState(): State =
        try {
            val state = JSONObject(File(folder, STATE_FILE).readText())
            val number = { key: String -> if (state.isNull(key)) null else state.getInt(key) }
            State(number("number"), state.textOrNull("archive"), number("previous"), state.optLong("serial"))
        } catch (_: IOException) {
            State(null, null, null, 0)
        } catch (_: JSONException) {
            State(null, null, null, 0)
        }

    private fun writeState(state: State) {
        val document = JSONObject().put("number", state.number).put("archive", state.archive)
            .put("previous", state.previous ?: JSONObject.NULL).put("serial", state.serial)
        val temporary = File(folder, ".$STATE_FILE")
        FileOutputStream(temporary).use {
            it.write(document.toString().toByteArray())
            it.fd.sync()
        }
        Files.move(temporary.toPath(), File(folder, STATE_FILE).toPath(), ATOMIC_MOVE, REPLACE_EXISTING)
    }

    /** Remove older releases and downloads; the last good release stays, and the base of the next delta. */
    private fun tidy(kept: Set<Int?>, archive: File) {
        for (file in folder.listFiles().orEmpty()) {
            val number = RELEASE.matchEntire(file.name)?.groupValues?.get(1)?.toIntOrNull()
            val isOld = number != null && number !in kept
            val isBase = file == archive && patcher != null
            val isDownload = file.extension in DOWNLOADS && !isBase
            if (isOld || isDownload || file.name.startsWith(".unpacked-")) file.deleteRecursively()
        }
    }
}

private fun hasItsHashes(bundle: FolderBundle): Boolean {
    val manifest = parseManifest(bundle.open(MANIFEST_FILE).use { it.readBytes() })
    manifest.files.forEach { (path, sha256) -> bundle.check(path, sha256) }
    return true
}
