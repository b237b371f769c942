package edgedistill.glue

/**
 * [ImageModel.predict] off the main thread. A cancelled coroutine stops between the steps and throws
 * [kotlinx.coroutines.CancellationException].
 */
public suspend fun ImageModel.predictAsync(frame: Frame): Prediction =
    offMainThread { cancelled -> predict(frame, cancelled) }
