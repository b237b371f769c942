#if canImport(CoreGraphics) && canImport(ImageIO)
import CoreGraphics
import Foundation
import ImageIO

// Not compiled by the kit's own tests: they have no Apple SDK, and check this file against declarations only.

extension Frame {
    /// A frame of a decoded picture, drawn in sRGB.
    ///
    /// A decoder of Apple and the one of training (Pillow) may give pixels that differ by 1 or 2 of 255 for the same
    /// JPEG; what follows is the same to the last bit. Transparent pixels are drawn over white here, as in training.
    ///
    /// - Throws: `ModelError.input` where the picture can't be drawn.
    public init(_ image: CGImage, orientation: CGImagePropertyOrientation = .up) throws {
        let (width, height) = (image.width, image.height)
        var bytes = [UInt8](repeating: 255, count: 4 * width * height)
        // Without alpha in memory nothing has to be divided by it again.
        let layout = CGImageAlphaInfo.noneSkipLast.rawValue | CGBitmapInfo.byteOrder32Big.rawValue
        let drawn = bytes.withUnsafeMutableBytes { memory -> Bool in
            guard
                let space = CGColorSpace(name: CGColorSpace.sRGB),
                let context = CGContext(
                    data: memory.baseAddress, width: width, height: height, bitsPerComponent: 8, bytesPerRow: 4 * width,
                    space: space, bitmapInfo: layout)
            else { return false }
            context.interpolationQuality = .none
            context.draw(image, in: CGRect(x: 0, y: 0, width: width, height: height))
            return true
        }
        guard drawn else {
            throw ModelError.input(
                "found a picture of \(width) x \(height) that can't be drawn, expected one of 1 x 1 or more")
        }
        self.init(
            format: .rgb8, width: width, height: height,
            planes: [Plane(bytes: bytes, rowStride: 4 * width, pixelStride: 4)], orientation: Int(orientation.rawValue))
    }
}
#endif

#if canImport(UIKit)
import UIKit

extension Frame {
    /// A frame of a photo, with its orientation. Throws `ModelError.input` where it has no bitmap (it is a CIImage).
    public init(_ image: UIImage) throws {
        guard let bitmap = image.cgImage else {
            throw ModelError.input("found a UIImage without a CGImage, expected one with a bitmap: render it first")
        }
        try self.init(bitmap, orientation: Self.exif(image.imageOrientation))
    }

    /// UIImage counts orientations in another order than EXIF.
    private static func exif(_ orientation: UIImage.Orientation) -> CGImagePropertyOrientation {
        switch orientation {
        case .up: .up
        case .upMirrored: .upMirrored
        case .down: .down
        case .downMirrored: .downMirrored
        case .left: .left
        case .leftMirrored: .leftMirrored
        case .right: .right
        case .rightMirrored: .rightMirrored
        @unknown default: .up
        }
    }
}
#endif
