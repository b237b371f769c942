package edgedistill.glue

import androidx.camera.core.ImageProxy

/**
 * The pixels of an image of CameraX, copied; close the image afterwards. Its rotation is applied, its crop is not.
 *
 * @param matrix and [range] of YUV; cameras give [YuvMatrix.BT601] and [YuvRange.FULL]
 * @throws ModelError.WrongInput where it is neither YUV_420_888 nor RGBA_8888
 */
public fun ImageProxy.toFrame(matrix: YuvMatrix = YuvMatrix.BT601, range: YuvRange = YuvRange.FULL): Frame {
    val copies = planes.map { copyPlane(it.buffer, it.rowStride, it.pixelStride) }
    return Frame(pixelFormat(format), width, height, copies, orientation(imageInfo.rotationDegrees), matrix, range)
}
