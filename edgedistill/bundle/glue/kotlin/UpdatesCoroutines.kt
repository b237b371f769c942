package edgedistill.glue

import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.isActive
import kotlinx.coroutines.withContext

/** [Updater.check] off the main thread. */
public suspend fun Updater.checkAsync(): Update? = withContext(Dispatchers.IO) { check() }

/**
 * [Updater.install] off the main thread. A cancelled coroutine stops the download and throws
 * [kotlinx.coroutines.CancellationException]; the next call goes on where it ended.
 */
public suspend fun Updater.installAsync(
    update: Update,
    progress: (done: Long, total: Long) -> Unit = { _, _ -> },
): FolderBundle = withContext(Dispatchers.IO) {
    try {
        install(update, { !isActive }, progress)
    } catch (error: ModelError.Cancelled) {
        ensureActive()
        throw error
    }
}
