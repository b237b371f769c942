#if canImport(CoreVideo) && canImport(ImageIO)
import CoreVideo
import Foundation
import ImageIO

// Not compiled by the kit's own tests: they have no Apple SDK, and check this file against declarations only.

extension Frame {
    /// A frame of the camera or of a video. The pixels are copied.
    ///
    /// Takes BGRA (`kCVPixelFormatType_32BGRA`) and 4:2:0 in two planes, of either range (`420v`, `420f`). The matrix
    /// is that of the buffer's attachment `kCVImageBufferYCbCrMatrixKey`; without one it is taken as BT.601. Others
    /// than BT.601 and BT.709 are refused.
    ///
    /// On the orientation: an AVCaptureConnection gives pixels as the sensor has them, in landscape. In an app that is
    /// held upright give `.right` for the back camera, and `.leftMirrored` for the front camera with a mirrored
    /// preview. Where `videoRotationAngle` (or the older `videoOrientation`, an AVCaptureVideoOrientation) was set so
    /// that buffers arrive upright, give `.up`: turned twice is turned wrong.
    ///
    /// - Throws: `ModelError.input` for another format or matrix.
    public init(_ buffer: CVPixelBuffer, orientation: CGImagePropertyOrientation) throws {
        let type = CVPixelBufferGetPixelFormatType(buffer)
        let range: Range
        switch type {
        case kCVPixelFormatType_32BGRA, kCVPixelFormatType_420YpCbCr8BiPlanarFullRange: range = .full
        case kCVPixelFormatType_420YpCbCr8BiPlanarVideoRange: range = .video
        default:
            throw ModelError.input(
                "found a pixel buffer of the type \(Self.code(type)), expected BGRA, 420v or 420f: "
                    + "set it in videoSettings"
            )
        }
        guard CVPixelBufferLockBaseAddress(buffer, .readOnly) == kCVReturnSuccess else {
            throw ModelError.input("found a pixel buffer that can't be locked, expected one in memory")
        }
        defer { CVPixelBufferUnlockBaseAddress(buffer, .readOnly) }
        let (width, height) = (CVPixelBufferGetWidth(buffer), CVPixelBufferGetHeight(buffer))
        if type == kCVPixelFormatType_32BGRA {
            guard let start = CVPixelBufferGetBaseAddress(buffer) else {
                throw ModelError.input("found a pixel buffer without memory")
            }
            let stride = CVPixelBufferGetBytesPerRow(buffer)
            let plane = Plane(bytes: Self.copy(start, stride * height), rowStride: stride, pixelStride: 4)
            self.init(
                format: .bgra8, width: width, height: height, planes: [plane], orientation: Int(orientation.rawValue))
            return
        }
        let (luma, lumaStride) = try Self.plane(buffer, 0)
        let (chroma, chromaStride) = try Self.plane(buffer, 1)
        self.init(
            format: .yuv420, width: width, height: height,
            planes: [
                Plane(bytes: luma, rowStride: lumaStride, pixelStride: 1),
                Plane(bytes: chroma, offset: 0, rowStride: chromaStride, pixelStride: 2),
                Plane(bytes: chroma, offset: 1, rowStride: chromaStride, pixelStride: 2),
            ], orientation: Int(orientation.rawValue), matrix: try Self.matrix(of: buffer), range: range)
    }

    private static func matrix(of buffer: CVPixelBuffer) throws -> Matrix {
        guard let found = CVBufferCopyAttachment(buffer, kCVImageBufferYCbCrMatrixKey, nil) as? String else {
            return .bt601
        }
        if found == kCVImageBufferYCbCrMatrix_ITU_R_601_4 as String { return .bt601 }
        if found == kCVImageBufferYCbCrMatrix_ITU_R_709_2 as String { return .bt709 }
        throw ModelError.input("found the matrix \(found), expected ITU_R_601_4 or ITU_R_709_2; take BGRA")
    }

    private static func plane(_ buffer: CVPixelBuffer, _ index: Int) throws -> (bytes: [UInt8], stride: Int) {
        guard let start = CVPixelBufferGetBaseAddressOfPlane(buffer, index) else {
            throw ModelError.input("found a pixel buffer without memory for plane \(index)")
        }
        let stride = CVPixelBufferGetBytesPerRowOfPlane(buffer, index)
        return (copy(start, stride * CVPixelBufferGetHeightOfPlane(buffer, index)), stride)
    }

    private static func copy(_ start: UnsafeMutableRawPointer, _ count: Int) -> [UInt8] {
        [UInt8](UnsafeRawBufferPointer(start: start, count: count))
    }

    /// The four letters of a pixel format.
    private static func code(_ type: OSType) -> String {
        let bytes = [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: type >> $0) }
        return bytes.allSatisfy { (32...126).contains($0) } ? String(decoding: bytes, as: UTF8.self) : String(type)
    }
}
#endif
