package edgedistill.glue

import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.isActive
import kotlinx.coroutines.withContext

/**
 * [Model.run] off the main thread. A cancelled coroutine stops before or after the run and throws
 * [kotlinx.coroutines.CancellationException].
 */
public suspend fun Model.runAsync(inputs: Map<String, Tensor>): Map<String, Tensor> =
    offMainThread { cancelled -> run(inputs, cancelled) }

/** Calls [block] on a thread for computing; it asks its argument whether the coroutine was cancelled. */
internal suspend fun <T> offMainThread(block: (cancelled: () -> Boolean) -> T): T =
    withContext(Dispatchers.Default) {
        ensureActive()
        try {
            block { !isActive }
        } catch (error: ModelError.Cancelled) {
            ensureActive()
            throw error
        }
    }
